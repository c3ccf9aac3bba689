"""The data sets by name, each made once and kept in `benchmarks/data/`.

    arxiv-sentences-<rows>     384 dims, sentences of abstracts; the smaller are prefixes
    arxiv-titles               384 dims, 98,957 titles
    wordnet-definitions        384 dims, 106,525 definitions
    fashion-mnist              784 dims, Euclidean, 60,000 images
    synthetic-<dim>[-<rows>]   made from the arXiv spectrum and cells, see synthetic.py
    <path>.hdf5                any set in the form of ann-benchmarks

Texts are embedded by the packaged MiniLM (384 dims, not trained nested): some 200 sentences a
second on two cores, resumable.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.search import synthetic, texts
from benchmarks.search.dataset import DATA, Dataset
from benchmarks.search.texts import Texts
from nestvec.encode import encode_to_file, open_encoder
from nestvec.progress import bar

_IMAGES = texts.TEXTS.parent / "images/fashion-mnist.npz"
_QUERIES = 1_000
_SYNTHETIC_ROWS = 200_000


def load(name: str) -> Dataset:
    """The data set of that name, made now if it has not been made before."""
    if name.endswith(".hdf5"):
        return ann_benchmarks(Path(name))
    if match := re.fullmatch(r"arxiv-sentences-(\d+)", name):
        return arxiv_sentences(int(match[1]))
    if match := re.fullmatch(r"synthetic-(\d+)(?:-(\d+))?", name):
        return synthetic_set(int(match[1]), int(match[2] or _SYNTHETIC_ROWS))
    makers: dict[str, Callable[[], Dataset]] = {
        "arxiv-titles": lambda: embedded("arxiv-titles", texts.arxiv_titles),
        "wordnet-definitions": lambda: embedded("wordnet-definitions", texts.wordnet_definitions),
        "fashion-mnist": fashion_mnist,
    }
    if name not in makers:
        raise SystemExit(f"no data set is called {name!r}; there are:\n{__doc__}")
    return makers[name]()


def arxiv_sentences(rows: int) -> Dataset:
    """A prefix of the largest set of that kind that has been made, or a new one."""
    made = (re.fullmatch(r"arxiv-sentences-(\d+)\.corpus", p.stem) for p in DATA.glob("*.npy"))
    sizes = [int(match[1]) for match in made if match]
    source = min((size for size in sizes if size >= rows), default=rows)
    data = embedded(f"arxiv-sentences-{source}", lambda: texts.arxiv_sentences(source))
    return Dataset(f"arxiv-sentences-{rows}", data.vectors[:rows], data.queries)


def embedded(name: str, make: Callable[[], Texts], folder: Path = DATA) -> Dataset:
    """Texts embedded by the packaged model; an interrupted run goes on where it stopped."""
    paths = [folder / f"{name}.{part}.npy" for part in ("corpus", "queries")]
    if not all(path.exists() for path in paths):
        folder.mkdir(exist_ok=True)
        encoder = open_encoder("minilm")
        for path, part in zip(paths, make(), strict=True):
            if not path.exists():
                encode_to_file(encoder, part, path, progress=bar)
    return Dataset(name, *(np.load(path, mmap_mode="r") for path in paths))


def fashion_mnist() -> Dataset:
    """Pixels as they are; the queries are 1,000 of the test images, which are sorted by class."""
    paths = [DATA / f"fashion-mnist.{part}.npy" for part in ("corpus", "queries")]
    if not all(path.exists() for path in paths):
        rng = np.random.default_rng(0)
        with np.load(_IMAGES) as images:
            for path, part, count in zip(paths, ("train", "test"), (None, _QUERIES), strict=True):
                pixels = images[f"{part}_images"]
                save(path, pixels.reshape(len(pixels), -1)[rng.permutation(len(pixels))[:count]])
    vectors, queries = (np.load(path, mmap_mode="r") for path in paths)
    return Dataset("fashion-mnist", vectors, queries, "euclidean")


def synthetic_set(dim: int, rows: int) -> Dataset:
    """Gaussian cells that continue the spectrum of real sentence vectors to `dim`."""
    name = f"synthetic-{dim}-{rows}"
    paths = [DATA / f"{name}.{part}.npy" for part in ("corpus", "queries")]
    if not all(path.exists() for path in paths):
        made = synthetic.like(arxiv_sentences(50_000).vectors, dim, rows + _QUERIES)
        save(paths[0], made[:rows])
        save(paths[1], made[rows:])
    return Dataset(name, *(np.load(path, mmap_mode="r") for path in paths))


def ann_benchmarks(path: Path) -> Dataset:
    """`train` and `test` of a file in the form of ann-benchmarks or VIBE.

    Angular distance is the inner product of unit rows. The true answers are computed anew: those of
    the file were found in float32.
    """
    import h5py

    with h5py.File(path) as file:
        distance = str(file.attrs["distance"])
        if distance not in ("angular", "cosine", "normalized", "euclidean", "ip"):
            raise SystemExit(f"{path} is measured by {distance!r}; not a distance of dense vectors")
        vectors, queries = (np.asarray(file[part], np.float32) for part in ("train", "test"))
    if distance in ("angular", "cosine"):
        vectors, queries = unit(vectors), unit(queries)
    metric = "euclidean" if distance == "euclidean" else "ip"
    return Dataset(path.stem, vectors, queries[:_QUERIES], metric, path.resolve())


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms == 0, 1, norms)


def save(path: Path, rows: np.ndarray) -> None:
    """Float32 `.npy`; the name appears when the file is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, np.ascontiguousarray(rows, np.float32))
    partial.replace(path)
