"""What tuning finds: a plan with its evidence, or what is missing."""

from dataclasses import dataclass
from typing import Any, Literal

from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.plan import Plan
from nestvec.statistics import Estimate
from nestvec.tuning.guarantee import Promise

Verdict = Literal["CERTIFIED", "INSUFFICIENT DATA", "OUT OF REACH"]

ASSUMPTIONS = (
    "queries to come are of the same kind as those given, and these were drawn at random",
    "queries are independent draws; of those that come in clusters (users, sessions) give one",
    "no row is added, deleted or coded anew; where that happens the index stops using the plan",
    "the target, its confidence and k were chosen before results were seen",
    "plans given by hand were not chosen by how they do on these queries",
    "searches are for this k (or the whole shortlist), without a filter",
)
"""What the promise rests on: where one of these is not so, it is void."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A plan on the queries that certify: served on average, tested, and what it reads."""

    plan: Plan
    served: float
    p_value: float
    bytes_per_query: float


@dataclass(frozen=True, slots=True)
class Tuned:
    """The cheapest plan that keeps a promise, or why there is none.

    Plans were put in order by queries of their own and tested on others, the safest first, until
    one failed (Learn then Test with a fixed sequence: Angelopoulos et al., 2110.01052): `plan` is
    the last that passed. Without one, the numbers are those of the safest.
    """

    verdict: Verdict
    promise: Promise
    plan: Plan | None
    served: Estimate
    """What is to reach the target: mean recall, a share of queries, or 1 − mean loss of nDCG."""
    lower_bound: float
    """One-sided, of this plan alone: of the plan that testing chose, only the target is proven."""
    needed: int | None
    """How many queries to give for the safest plan to pass; None where that is no question."""
    trials: tuple[Trial, ...]
    """The evidence, in the order tested."""
    queries: int
    """How many were given, those included that put the plans in order."""
    optimistic: int
    """How many of them are rows of the index: such queries are easier than others."""
    seed: int
    rows_checksum: int
    """Which rows it is about."""

    @property
    def rows(self) -> int | None:
        """How many rows a search by the plan asks for: k, or the whole shortlist."""
        return None if self.plan is None else self.promise.rows(self.plan)

    @property
    def n(self) -> int:
        """How many queries certify."""
        return self.served.n

    def save(self, index: Index) -> None:
        """Keep the plan and its evidence in the index, whose searches for `rows` then use it.

        `InputError` where no plan is certified, `StorageError` when rows have changed since.
        """
        if self.plan is None or self.rows is None:
            raise InputError(f"no plan is certified ({self.verdict}), so there is none to keep")
        index.keep_plan(self.rows, self.plan, self.to_json(), self.rows_checksum)

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {self._finding()}", f"  {self._numbers()}"]
        if self.optimistic:
            lines.append(
                f"  OPTIMISTIC: {self.optimistic} of {self.queries} queries are rows of the index; "
                "queries that are not find less"
            )
        if self.plan is not None:
            lines += ["  It holds if", *(f"  - {one}" for one in ASSUMPTIONS)]
        return "\n".join(lines)

    def _finding(self) -> str:
        if self.plan is not None:
            return f"'{self.plan}' has {self.promise}"
        if self.verdict == "OUT OF REACH":
            return f"no plan has {self.promise}; search with exact=True, or aim lower"
        if self.needed is None:
            return f"{self.promise} is not what these {self.queries:,} queries have; give more"
        return (
            f"{self.queries:,} queries do not show {self.promise}; "
            f"some {self.needed:,}, served as these are, would"
        )

    def _numbers(self) -> str:
        value, low, high, n = self.served
        return (
            f"{value:.4f} [{low:.4f}, {high:.4f}] on {n:,} held-out queries, one-sided bound "
            f"{self.lower_bound:.4f}; {len(self.trials)} plans tested"
        )

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "verdict": self.verdict,
            "promise": str(self.promise),
            **self.promise.to_json(),
            "plan": None if self.plan is None else str(self.plan),
            "rows": self.rows,
            "served": self.served._asdict(),
            "lower_bound": self.lower_bound,
            "needed": self.needed,
            "queries": self.queries,
            "optimistic": self.optimistic,
            "seed": self.seed,
            "assumptions": list(ASSUMPTIONS),
            "evidence": [_as_json(trial) for trial in self.trials],
        }


def _as_json(trial: Trial) -> dict[str, Any]:
    return {
        "plan": str(trial.plan),
        "served": trial.served,
        "p_value": trial.p_value,
        "bytes_per_query": trial.bytes_per_query,
    }
