"""The engines by name. A package is imported when its engine is asked for."""

from importlib import import_module

from benchmarks.search.engines.base import Engine

ENGINES = {
    "nestvec": "nestvec:Nestvec",
    "faiss-flat": "faiss:Flat",
    "faiss-panorama": "faiss:Panorama",
    "faiss-hnsw": "faiss:Hnsw",
    "faiss-hnsw-sq8": "faiss:HnswSq8",
    "faiss-rabitq": "faiss:RaBitQ",
    "faiss-ivf-panorama": "faiss:IvfPanorama",
    "hnswlib": "hnswlib:Hnswlib",
    "hnswlib-32": "hnswlib:Hnswlib32",
    "usearch-f32": "usearch:Usearch",
    "usearch-i8": "usearch:UsearchI8",
    "scann": "scann:Scann",
    "scann-soar": "scann:ScannSoar",
    "svs-f32": "svs:Svs",
    "svs-f16": "svs:SvsFloat16",
    "svs-lvq": "svs:SvsLvq",
    "svs-leanvec": "svs:SvsLeanVec",
}


def engine(name: str) -> Engine:
    """The engine of that name."""
    if name not in ENGINES:
        raise SystemExit(f"no engine is called {name!r}; there are: {', '.join(ENGINES)}")
    module, _, cls = ENGINES[name].partition(":")
    found: Engine = getattr(import_module(f"{__name__}.{module}"), cls)()
    return found
