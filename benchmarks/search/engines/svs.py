"""Intel Scalable Vector Search: Vamana graphs on float32, float16, and Intel's LVQ and LeanVec.

LVQ and LeanVec run on Intel processors alone: elsewhere the package prints a line and ends the
process, which the build of this benchmark records as the reason.
"""

from pathlib import Path
from typing import Any

import numpy as np
import svs

from benchmarks.search.dataset import Dataset
from benchmarks.search.engines.base import Engine, Opened, Setting, folder_bytes

_WINDOWS = (10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448)


class Svs(Engine):
    title = "SVS Vamana float32 (degree 64, window 128)"
    package = "scalable-vs"
    kind = "graph"
    code = np.float32

    def build(self, data: Dataset, folder: Path, threads: int) -> svs.Vamana:
        return svs.Vamana.build(
            svs.VamanaBuildParameters(
                alpha=0.95 if data.metric == "ip" else 1.2, graph_max_degree=64, window_size=128
            ),
            self.source(data, folder),
            distance(data),
            num_threads=threads,
        )

    def source(self, data: Dataset, folder: Path) -> Any:
        """What SVS builds from."""
        return np.ascontiguousarray(data.vectors, self.code)

    def save(self, built: svs.Vamana, data: Dataset, folder: Path) -> None:
        built.save(*(str(folder / part) for part in ("config", "graph", "data")))

    def loader(self, folder: Path) -> Any:
        """What SVS reads back."""
        kind = {"float32": svs.DataType.float32, "float16": svs.DataType.float16}
        return svs.VectorDataLoader(str(folder / "data"), kind[np.dtype(self.code).name])

    def open(self, data: Dataset, folder: Path) -> Opened:
        index = svs.Vamana(
            str(folder / "config"),
            svs.GraphLoader(str(folder / "graph")),
            self.loader(folder),
            distance(data),
            num_threads=1,
        )
        size = sum(folder_bytes(folder / part) for part in ("graph", "data"))
        return Opened(lambda k: [_setting(index, k, w) for w in _WINDOWS if w >= k], size, size)


class SvsFloat16(Svs):
    title = "SVS Vamana float16 (degree 64, window 128)"
    code = np.float16


class _Compressed(Svs):
    def source(self, data: Dataset, folder: Path) -> Any:
        path = folder / "vectors.fvecs"
        svs.write_vecs(np.ascontiguousarray(data.vectors), str(path))
        return self.compress(svs.VectorDataLoader(str(path), svs.DataType.float32), data)

    def compress(self, vectors: svs.VectorDataLoader, data: Dataset) -> Any:
        raise NotImplementedError


class SvsLvq(_Compressed):
    title = "SVS LVQ4x8 (degree 64, window 128)"

    def compress(self, vectors: svs.VectorDataLoader, data: Dataset) -> Any:
        return svs.LVQLoader(vectors, primary=4, residual=8)

    def loader(self, folder: Path) -> Any:
        return svs.LVQLoader(str(folder / "data"))


class SvsLeanVec(_Compressed):
    title = "SVS LeanVec dim/2, lvq8x8 (degree 64, window 128)"

    def compress(self, vectors: svs.VectorDataLoader, data: Dataset) -> Any:
        kind = svs.LeanVecKind.lvq8
        return svs.LeanVecLoader(
            vectors, data.vectors.shape[1] // 2, primary_kind=kind, secondary_kind=kind
        )

    def loader(self, folder: Path) -> Any:
        return svs.LeanVecLoader(str(folder / "data"))


def distance(data: Dataset) -> svs.DistanceType:
    return svs.DistanceType.MIP if data.metric == "ip" else svs.DistanceType.L2


def _setting(index: svs.Vamana, k: int, window: int) -> Setting:
    def choose() -> None:
        index.search_window_size = window

    def one(query: np.ndarray) -> np.ndarray:
        return index.search(query, k)[0][0].astype(np.int64)

    def batch(queries: np.ndarray, threads: int) -> np.ndarray:
        index.num_threads = threads
        ids = index.search(queries, k)[0].astype(np.int64)
        index.num_threads = 1
        return ids

    return Setting(f"window {window}", choose, one, batch)
