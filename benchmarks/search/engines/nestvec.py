"""nestvec: its default plan, and the same funnel with more and fewer cells and candidates."""

from inspect import signature
from pathlib import Path

import numpy as np

import nestvec as nv
from benchmarks.search.dataset import Dataset
from benchmarks.search.engines.base import Engine, Opened, Setting, do_nothing

_PROBE_FACTORS = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1, 3 / 2, 2, 3, 4)
_KEEP_FACTORS = (1, 1 / 4, 1 / 2, 2)
_FEWER_WORDS = 2 / 3
"""Of the head's words: less to read of each row, more rows to look at closer."""


class Nestvec(Engine):
    title = "nestvec"
    package = "nestvec"
    kind = "nestvec"

    def build(self, data: Dataset, folder: Path, threads: int) -> nv.Index:
        metric = {} if data.metric == "ip" else {"metric": data.metric}
        return nv.Index.build(data.vectors, folder / "index.nv", overwrite=True, **metric)

    def refuses(self, data: Dataset) -> str | None:
        if data.metric != "ip" and "metric" not in signature(nv.Index.build).parameters:
            return "this version has no Euclidean metric"
        return None

    def save(self, built: nv.Index, data: Dataset, folder: Path) -> None:
        """Building has written it."""

    def open(self, data: Dataset, folder: Path) -> Opened:
        index = nv.Index.open(folder / "index.nv")
        hot = hot_bytes(index)
        held = hot + index.vectors.nbytes
        return Opened(lambda k: nestvec_settings(index, k), hot, held)


def nestvec_settings(index: nv.Index, k: int) -> list[Setting]:
    """One setting per distinct plan of the grid; the default plan is marked."""
    default = index.default_plan(k)
    return [_setting(index, k, plan, plan == default) for plan in plan_grid(default, k)]


def plan_grid(default: nv.Plan, k: int) -> list[nv.Plan]:
    """The default with its cells and the rows that its stages keep multiplied by the factors.

    Each also with fewer words in the first stage. A stage never keeps fewer than `k`; where the
    default probes all cells only the rows kept vary.
    """
    plans = [default]
    for keep in _KEEP_FACTORS:
        stages = tuple(
            nv.Stage(stage.dims, stage.bits, max(k, round(stage.keep * keep)))
            for stage in default.stages
        )
        for factor in _PROBE_FACTORS:
            probe = None if default.probe is None else max(1, round(default.probe * factor))
            plans.append(nv.Plan(probe, stages, default.full))
            if stages:
                dims = max(1, round(stages[0].dims * _FEWER_WORDS))
                narrow = nv.Stage(dims, stages[0].bits, stages[0].keep)
                plans.append(nv.Plan(probe, (narrow, *stages[1:]), default.full))
    return list(dict.fromkeys(plans))


def hot_bytes(index: nv.Index) -> int:
    """Codes, centroids and what else a search reads, without the full vectors."""
    return int(index.hot_bytes)


def _setting(index: nv.Index, k: int, plan: nv.Plan, is_default: bool) -> Setting:
    def one(query: np.ndarray) -> np.ndarray:
        return index.search(query[None], k, plan=plan, threads=1).ids[0]

    def batch(queries: np.ndarray, threads: int) -> np.ndarray:
        return index.search(queries, k, plan=plan, threads=threads).ids

    return Setting(str(plan), do_nothing, one, batch, is_default)
