"""USearch: HNSW on float32, and on vectors cut to 8 bits."""

from pathlib import Path

import numpy as np
from usearch.index import Index

from benchmarks.search.dataset import Dataset, is_unit
from benchmarks.search.engines.base import Engine, Opened, Setting

_FILE = "index.usearch"
_EXPANSION = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


class Usearch(Engine):
    title = "USearch f32 (connectivity 32, expansion_add 200)"
    package = "usearch"
    kind = "graph"
    dtype = "f32"

    def empty(self, data: Dataset) -> Index:
        return Index(
            ndim=data.vectors.shape[1],
            metric=self.metric(data),
            dtype=self.dtype,
            connectivity=32,
            expansion_add=200,
        )

    def metric(self, data: Dataset) -> str:
        return "ip" if data.metric == "ip" else "l2sq"

    def build(self, data: Dataset, folder: Path, threads: int) -> Index:
        index = self.empty(data)
        index.add(np.arange(len(data.vectors)), data.vectors, threads=threads)
        return index

    def save(self, built: Index, data: Dataset, folder: Path) -> None:
        built.save(str(folder / _FILE))

    def open(self, data: Dataset, folder: Path) -> Opened:
        index = self.empty(data)
        index.load(str(folder / _FILE))
        size = (folder / _FILE).stat().st_size
        return Opened(
            lambda k: [_setting(index, k, width) for width in _EXPANSION if width >= k], size, size
        )


class UsearchI8(Usearch):
    """Cosine: USearch scales unit vectors to 8 bits for it. It does not rerank on full vectors."""

    title = "USearch i8 (connectivity 32, expansion_add 200)"
    dtype = "i8"

    def refuses(self, data: Dataset) -> str | None:
        return None if is_unit(data) else "its 8 bits are for unit vectors"

    def metric(self, data: Dataset) -> str:
        return "cos"


def _setting(index: Index, k: int, width: int) -> Setting:
    def one(query: np.ndarray) -> np.ndarray:
        return index.search(query, k, threads=1).keys.astype(np.int64)

    def batch(queries: np.ndarray, threads: int) -> np.ndarray:
        return index.search(queries, k, threads=threads).keys.astype(np.int64)

    return Setting(
        f"expansion {width}", lambda: setattr(index, "expansion_search", width), one, batch
    )
