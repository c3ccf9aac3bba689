"""FAISS: flat, Panorama, HNSW, and cells with RaBitQ codes and a refinement on full vectors."""

import math
from collections.abc import Iterable
from pathlib import Path

import faiss
import numpy as np

from benchmarks.search.dataset import Dataset, is_unit
from benchmarks.search.engines.base import Engine, Opened, Setting, do_nothing

_FILE = "index.faiss"
_NOT_UNIT = "it goes by Euclidean distance here, which needs unit rows"
_EF = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_PROBES = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)


class _Faiss(Engine):
    package = "faiss-cpu"
    metric: int | None = None
    """None: that of the data."""

    def factory(self, data: Dataset) -> str:
        raise NotImplementedError

    def empty(self, data: Dataset) -> faiss.Index:
        chosen = metric(data) if self.metric is None else self.metric
        return faiss.index_factory(data.vectors.shape[1], self.factory(data), chosen)

    def build(self, data: Dataset, folder: Path, threads: int) -> faiss.Index:
        faiss.omp_set_num_threads(threads)
        index = self.empty(data)
        index.train(data.vectors)
        index.add(data.vectors)
        return index

    def save(self, built: faiss.Index, data: Dataset, folder: Path) -> None:
        faiss.write_index(built, str(folder / _FILE))

    def read(self, folder: Path) -> faiss.Index:
        faiss.omp_set_num_threads(1)
        return faiss.read_index(str(folder / _FILE))


class Flat(_Faiss):
    title = "FAISS Flat"
    kind = "flat"

    def factory(self, data: Dataset) -> str:
        return "Flat"

    def open(self, data: Dataset, folder: Path) -> Opened:
        index = self.read(folder)
        size = data.vectors.nbytes
        return Opened(lambda k: [_setting(index, k, "exact")], size, size)


class Panorama(Flat):
    """Exact in real arithmetic; bounds in float32 without an allowance for rounding.

    By Euclidean distance always: the PCA subtracts the mean, which leaves distances as they are but
    not inner products. Unit rows have the same neighbours by both.
    """

    title = "FAISS PCA,FlatL2Panorama16"
    metric = faiss.METRIC_L2

    def factory(self, data: Dataset) -> str:
        return f"PCA{data.vectors.shape[1]},FlatL2Panorama16"

    def refuses(self, data: Dataset) -> str | None:
        return None if data.metric == "euclidean" or is_unit(data) else _NOT_UNIT


class Hnsw(_Faiss):
    title = "FAISS HNSW32 (efConstruction 200)"
    kind = "graph"
    storage = "Flat"

    def factory(self, data: Dataset) -> str:
        return f"HNSW32,{self.storage}"

    def build(self, data: Dataset, folder: Path, threads: int) -> faiss.Index:
        faiss.omp_set_num_threads(threads)
        index = self.empty(data)
        index.hnsw.efConstruction = 200
        index.train(data.vectors)
        index.add(data.vectors)
        return index

    def open(self, data: Dataset, folder: Path) -> Opened:
        index = self.read(folder)
        size = (folder / _FILE).stat().st_size
        return Opened(lambda k: list(_hnsw_settings(index, k)), size, size)


class HnswSq8(Hnsw):
    title = "FAISS HNSW32,SQ8 (efConstruction 200)"
    storage = "SQ8"


class RaBitQ(_Faiss):
    """One bit per dimension in fast-scan blocks, refined on full vectors."""

    kind = "cells"
    title = "FAISS RR,IVF,RaBitQfs4 + refine (4 √n cells)"

    def factory(self, data: Dataset) -> str:
        dim = data.vectors.shape[1]
        return f"RR{dim},IVF{cells(len(data.vectors))},RaBitQfs4"

    def open(self, data: Dataset, folder: Path) -> Opened:
        base = self.read(folder)
        vectors = np.ascontiguousarray(data.vectors)
        refine = faiss.IndexRefineFlat(base, faiss.swig_ptr(vectors))
        size = (folder / _FILE).stat().st_size
        return Opened(
            lambda k: list(_refine_settings(refine, base, k)), size, size + data.vectors.nbytes
        )


class IvfPanorama(_Faiss):
    """Full vectors in cells; distances are cut short by exact bounds."""

    kind = "cells"
    title = "FAISS PCA,IVF,FlatPanorama8_128 by L2 (4 √n cells)"
    metric = faiss.METRIC_L2

    def refuses(self, data: Dataset) -> str | None:
        return None if data.metric == "euclidean" or is_unit(data) else _NOT_UNIT

    def factory(self, data: Dataset) -> str:
        return f"PCA{data.vectors.shape[1]},IVF{cells(len(data.vectors))},FlatPanorama8_128"

    def open(self, data: Dataset, folder: Path) -> Opened:
        index = self.read(folder)
        size = (folder / _FILE).stat().st_size
        return Opened(lambda k: list(_cell_settings(index, k)), size, size)


def metric(data: Dataset) -> int:
    return faiss.METRIC_INNER_PRODUCT if data.metric == "ip" else faiss.METRIC_L2


def cells(rows: int) -> int:
    """The power of two nearest to 4 √rows, as FAISS advises for up to a million rows."""
    return 2 ** max(3, round(math.log2(4 * math.sqrt(rows))))


def _setting(index: faiss.Index, k: int, label: str, choose=do_nothing) -> Setting:
    def one(query: np.ndarray) -> np.ndarray:
        return index.search(query[None], k)[1][0]

    def batch(queries: np.ndarray, threads: int) -> np.ndarray:
        faiss.omp_set_num_threads(threads)
        ids = index.search(queries, k)[1]
        faiss.omp_set_num_threads(1)
        return ids

    return Setting(label, choose, one, batch)


def _hnsw_settings(index: faiss.Index, k: int) -> Iterable[Setting]:
    for ef in _EF:
        if ef >= k:
            yield _setting(
                index, k, f"efSearch {ef}", lambda ef=ef: setattr(index.hnsw, "efSearch", ef)
            )


def _cell_settings(index: faiss.Index, k: int) -> Iterable[Setting]:
    ivf = faiss.extract_index_ivf(index)
    for probe in _PROBES:
        if probe <= ivf.nlist:
            yield _setting(
                index, k, f"nprobe {probe}", lambda probe=probe: setattr(ivf, "nprobe", probe)
            )


def _refine_settings(refine: faiss.IndexRefineFlat, base: faiss.Index, k: int) -> Iterable[Setting]:
    ivf = faiss.extract_index_ivf(base)

    def choose(probe: int, factor: float) -> None:
        ivf.nprobe = probe  # and `ivf` keeps `base` alive: FAISS holds no reference to it
        refine.k_factor = factor

    for factor in (2, 4, 8) if k >= 100 else (3, 6, 12):
        for probe in _PROBES:
            if probe <= ivf.nlist:
                yield _setting(
                    refine, k, f"nprobe {probe}, k_factor {factor}",
                    lambda probe=probe, factor=factor: choose(probe, factor),
                )  # fmt: skip
