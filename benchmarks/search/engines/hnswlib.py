"""hnswlib, the reference implementation of HNSW."""

from pathlib import Path

import hnswlib
import numpy as np

from benchmarks.search.dataset import Dataset
from benchmarks.search.engines.base import Engine, Opened, Setting

_FILE = "index.hnswlib"
_EF = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


class Hnswlib(Engine):
    title = "hnswlib (M 16, ef_construction 200)"
    package = "hnswlib"
    kind = "graph"
    degree = 16
    """Links per row; the lowest layer has twice as many."""

    def build(self, data: Dataset, folder: Path, threads: int) -> hnswlib.Index:
        index = _empty(data)
        index.init_index(len(data.vectors), M=self.degree, ef_construction=200, random_seed=0)
        index.add_items(data.vectors, num_threads=threads)
        return index

    def save(self, built: hnswlib.Index, data: Dataset, folder: Path) -> None:
        built.save_index(str(folder / _FILE))

    def open(self, data: Dataset, folder: Path) -> Opened:
        index = _empty(data)
        index.load_index(str(folder / _FILE))
        index.set_num_threads(1)
        size = (folder / _FILE).stat().st_size
        return Opened(lambda k: [_setting(index, k, ef) for ef in _EF if ef >= k], size, size)


class Hnswlib32(Hnswlib):
    title = "hnswlib (M 32, ef_construction 200)"
    degree = 32


def _empty(data: Dataset) -> hnswlib.Index:
    return hnswlib.Index("ip" if data.metric == "ip" else "l2", data.vectors.shape[1])


def _setting(index: hnswlib.Index, k: int, ef: int) -> Setting:
    def one(query: np.ndarray) -> np.ndarray:
        return index.knn_query(query, k, num_threads=1)[0][0].astype(np.int64)

    def batch(queries: np.ndarray, threads: int) -> np.ndarray:
        return index.knn_query(queries, k, num_threads=threads)[0].astype(np.int64)

    return Setting(f"ef {ef}", lambda: index.set_ef(ef), one, batch)
