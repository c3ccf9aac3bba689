"""nestvec for VIBE; docs/reference/benchmarks.md says how to run it there."""

from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from weakref import finalize

import numpy as np

import nestvec as nv

from ..base.module import BaseANN  # noqa: TID252  there it is a sibling


class Nestvec(BaseANN):
    """The default plan, with the cells it probes and the rows its stages keep multiplied."""

    def __init__(self, metric):
        if metric not in ("normalized", "cosine", "euclidean", "ip"):
            raise NotImplementedError(f"nestvec has no distance {metric!r}")
        self.metric = metric

    def fit(self, X):  # noqa: N803  the names are theirs
        vectors = self._rows(X)
        # The index is a folder; it goes when this object does.
        folder = Path(mkdtemp(prefix="nestvec-"))
        finalize(self, rmtree, folder, ignore_errors=True)
        options = {"metric": "euclidean"} if self.metric == "euclidean" else {}
        self._index = nv.Index.build(vectors, folder / "index.nv", **options)

    def set_query_arguments(self, probe, keep):
        self._factors = (probe, keep)
        self._plans = {}

    def query(self, q, n):
        plan = self._plan(n)
        return self._index.search(self._rows(q[None]), n, plan=plan, threads=1).ids[0]

    def __str__(self):
        return "nestvec(probe={:g}, keep={:g})".format(*self._factors)

    def _rows(self, vectors):
        """Float32; unit rows where only the angle counts."""
        rows = np.asarray(vectors, np.float32)
        if self.metric != "cosine":
            return rows  # "normalized" vectors come as unit rows
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(norms == 0, 1, norms)

    def _plan(self, n):
        if n not in self._plans:
            self._plans[n] = scaled(self._index.default_plan(n), n, *self._factors)
        return self._plans[n]


def scaled(plan, k, probe, keep):
    """`plan` with `probe` times the cells and `keep` times the rows of each stage, at least k."""
    stages = tuple(
        nv.Stage(stage.dims, stage.bits, max(k, round(stage.keep * keep))) for stage in plan.stages
    )
    cells = None if plan.probe is None else max(1, round(plan.probe * probe))
    return nv.Plan(cells, stages, plan.full)
