"""Search of a vector store by a plan, with rows as an audit numbers them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nestvec.auditing.types import Ranking
from nestvec.documents import Id
from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.plan import Plan
from nestvec.shapes import Float32, Int64
from nestvec.vector_store import VectorStore


@dataclass(frozen=True, eq=False)
class PlanSearch:
    """A search plan, the vector store that runs it, and the audit's row of each id in there."""

    plan: Plan
    store: VectorStore
    rows: Mapping[Id, int]

    def top_k(
        self, queries: Float32[np.ndarray, "q dim"], k: int, self_match: Int64[np.ndarray, " q"]
    ) -> Ranking:
        """Search the first `k` rows, for queries that went through the store's transform.

        The row `self_match[i]` (−1: none) is behind all other hits of query i, and left out where
        the plan keeps enough rows for a further one. `InputError` for a store with fewer hits.
        """
        n_candidates = min((stage.keep for stage in self.plan.stages), default=len(self.rows))
        depth = min(k + bool((self_match >= 0).any()), max(k, n_candidates))
        hits = self.store.search(
            queries, depth, plan=self.plan, transformed_by=_fingerprint(self.store)
        )
        if (hits.rows < 0).any():
            raise InputError(
                f"the plan '{self.plan}' finds fewer than {depth} rows for some queries; use one "
                "that probes more cells"
            )
        rows = np.array([[self.rows[id_] for id_ in row] for row in hits.ids.tolist()], np.int64)
        order = np.argsort(rows == self_match[:, None], axis=1, kind="stable")[:, :k]
        return Ranking(
            np.take_along_axis(rows, order, axis=1), np.take_along_axis(hits.scores, order, axis=1)
        )

    @property
    def version(self) -> str:
        """Text that changes with the plan, and with the store as far as the store tells."""
        store = self.store.version if isinstance(self.store, Index) else repr(self.store)
        return f"{self.plan} {store}"


def plan_in_use(store: VectorStore, queries: Float32[np.ndarray, "q dim"], k: int) -> Plan:
    """Return the plan by which a store searches when it is passed none.

    `queries` went through its transform.
    """
    return store.search(queries[:1], k, transformed_by=_fingerprint(store)).plan


def _fingerprint(store: VectorStore) -> str | None:
    return None if store.transform is None else store.transform.fingerprint
