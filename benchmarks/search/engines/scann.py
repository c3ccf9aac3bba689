"""ScaNN: cells, 4-bit product quantization that is tuned to inner products, reranking."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scann.scann_ops.py import scann_ops_pybind as scann

from benchmarks.search.dataset import Dataset
from benchmarks.search.engines.base import Engine, Opened, Setting, do_nothing, folder_bytes

_LEAVES = (5, 10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480)


class Scann(Engine):
    title = "ScaNN (3 √n leaves, 2 dims per code, threshold 0.2)"
    package = "scann"
    kind = "cells"
    tree_options: ClassVar[dict[str, Any]] = {}

    def build(self, data: Dataset, folder: Path, threads: int) -> Any:
        vectors = np.ascontiguousarray(data.vectors)
        distance = "dot_product" if data.metric == "ip" else "squared_l2"
        # The threshold shapes the loss for inner products; for distances ScaNN wants none.
        loss = {"anisotropic_quantization_threshold": 0.2} if data.metric == "ip" else {}
        return (
            scann.builder(vectors, 10, distance)
            .tree(
                num_leaves=leaves(len(vectors)),
                num_leaves_to_search=40,
                training_sample_size=min(len(vectors), 250_000),
                spherical=data.metric == "ip",
                quantize_centroids=True,
                **self.tree_options,
            )
            .score_ah(2, **loss)
            .reorder(100)
            .set_n_training_threads(threads)
            .build()
        )

    def save(self, built: Any, data: Dataset, folder: Path) -> None:
        (folder / "scann").mkdir(exist_ok=True)
        built.serialize(str(folder / "scann"))

    def open(self, data: Dataset, folder: Path) -> Opened:
        searcher = scann.load_searcher(str(folder / "scann"))
        codes = sum(file.stat().st_size for file in (folder / "scann").glob("hashed_dataset*"))
        held = folder_bytes(folder / "scann") - codes // 2  # 4 bits each, but bytes in its files
        hot = held - data.vectors.nbytes
        return Opened(lambda k: list(_settings(searcher, k)), hot, held)


class ScannSoar(Scann):
    """Every row in a second cell too, chosen for the queries that the first one misses."""

    title = "ScaNN + SOAR (3 √n leaves, 2 dims per code, threshold 0.2, λ 1.5)"
    tree_options: ClassVar[dict[str, Any]] = {"soar_lambda": 1.5, "overretrieve_factor": 2.0}

    def refuses(self, data: Dataset) -> str | None:
        return None if data.metric == "ip" else "SOAR is for inner products"


def leaves(rows: int) -> int:
    """About 3 √rows: ScaNN advises about √rows, its own runs on a million rows take 2,000."""
    return round(3 * math.sqrt(rows))


def _settings(searcher: Any, k: int) -> Iterable[Setting]:
    for reorder in (4, 8, 16, 32) if k < 100 else (2, 4, 8):
        for count in _LEAVES:
            yield _setting(searcher, k, count, k * reorder)


def _setting(searcher: Any, k: int, count: int, reorder: int) -> Setting:
    def one(query: np.ndarray) -> np.ndarray:
        return padded(searcher.search(query, k, reorder, count)[0], k)

    def batch(queries: np.ndarray, threads: int) -> np.ndarray:
        if threads == 1:
            return searcher.search_batched(queries, k, reorder, count)[0].astype(np.int64)
        searcher.set_num_threads(threads)
        return searcher.search_batched_parallel(queries, k, reorder, count)[0].astype(np.int64)

    return Setting(f"leaves {count}, reorder {reorder}", do_nothing, one, batch)


def padded(ids: np.ndarray, k: int) -> np.ndarray:
    """Exactly `k` ids; too few leaves may hold fewer rows."""
    return np.pad(ids.astype(np.int64), (0, k - len(ids)), constant_values=-1)
