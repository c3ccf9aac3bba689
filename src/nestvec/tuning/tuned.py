"""A tuned plan with its evidence, or the reason why there is none."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.plan import Plan
from nestvec.plurals import count_of
from nestvec.statistics import Estimate
from nestvec.tuning.evidence import encode_keys
from nestvec.tuning.guarantee import Guarantee

TuneVerdict = Literal["GUARANTEED", "INSUFFICIENT DATA", "OUT OF REACH"]

ASSUMPTIONS = (
    "queries to come are of the same kind as these queries, which were drawn at random",
    "queries are independent draws; of each cluster (user, session) pass one",
    "no row is added, deleted or coded anew; where that happens the index stops using the plan",
    "the target, its confidence and k were chosen before results were seen",
    "plans that you passed were not chosen by their results on these queries",
    "searches are for this k (or the whole shortlist), without a filter",
)
"""The conditions of the guarantee: it is void where one of them does not hold."""


@dataclass(frozen=True, slots=True)
class PlanTest:
    """The test of one plan on the testing queries: mean score, p-value, bytes per query."""

    plan: Plan
    attained: float
    p_value: float
    bytes_per_query: float

    def to_json(self) -> dict[str, Any]:
        """Return its values by name, the plan as text."""
        return {**asdict(self), "plan": str(self.plan)}


@dataclass(frozen=True, slots=True)
class TunedPlan:
    """The cheapest plan with a guarantee, or the reason why there is none.

    Some queries ordered the plans, and the others tested them in that order, the safest first,
    until one failed (Learn then Test with a fixed sequence: Angelopoulos et al., arXiv 2110.01052).
    `plan` is the last that passed. Where none passed, the numbers are those of the safest plan.
    """

    verdict: TuneVerdict
    guarantee: Guarantee
    plan: Plan | None
    attained: Estimate
    """The estimate of what must reach the target: see `Guarantee`."""
    lower_bound: float
    """The one-sided bound for a plan fixed in advance; of the chosen one the target is shown."""
    queries_needed: int | None
    """How many queries would show the guarantee of the safest plan; None where unknown."""
    plan_tests: tuple[PlanTest, ...]
    """The evidence, in the order tested."""
    queries: int
    """All queries, including those that ordered the plans."""
    n_self_matches: int
    """How many queries equal rows of the index; such queries are easier than new ones."""
    seed: int
    rows_checksum: int
    """The rows for which the guarantee holds, as a checksum."""
    query_keys: tuple[int, ...] = field(repr=False)
    """A hash of each query, by which a check of drift tells new queries from these."""

    @property
    def rows(self) -> int | None:
        """The number of rows that a search by the plan returns: k, or the whole shortlist."""
        return None if self.plan is None else self.guarantee.rows(self.plan)

    @property
    def n(self) -> int:
        """The number of testing queries."""
        return self.attained.n

    def save(self, index: Index) -> None:
        """Store the plan and its evidence in the index, whose searches for `rows` rows then use it.

        `InputError` where no plan has the guarantee, `StorageError` when rows have changed since.
        """
        if self.plan is None or self.rows is None:
            raise InputError(
                f"no plan has the guarantee ({self.verdict}), so there is none to save"
            )
        evidence = self.to_json() | {"query_keys": encode_keys(self.query_keys)}
        index.save_plan(self.rows, self.plan, evidence, self.rows_checksum)

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {self._describe()}", f"  {self._numbers()}"]
        if self.n_self_matches:
            lines.append(
                f"  OPTIMISTIC: {self.n_self_matches} of {self.queries} queries are rows of the "
                "index; new queries find less"
            )
        if self.plan is not None:
            lines += ["  It holds if", *(f"  - {assumption}" for assumption in ASSUMPTIONS)]
        return "\n".join(lines)

    def _describe(self) -> str:
        if self.plan is not None:
            return f"'{self.plan}' has {self.guarantee}"
        if self.verdict == "OUT OF REACH":
            return (
                f"no plan that was tested has {self.guarantee}, and the widest is "
                f"'{self.plan_tests[0].plan}'; pass wider plans, search with exact=True, or aim "
                "lower"
            )
        if self.queries_needed is None:
            return f"these {self.queries:,} queries do not show {self.guarantee}; pass more"
        return (
            f"{self.queries:,} queries do not show {self.guarantee}; "
            f"about {self.queries_needed:,} queries like these would"
        )

    def _numbers(self) -> str:
        value, low, high, n = self.attained
        return (
            f"{value:.4f} [{low:.4f}, {high:.4f}] on "
            f"{count_of(n, 'held-out query', 'held-out queries')}, one-sided bound "
            f"{self.lower_bound:.4f}; {count_of(len(self.plan_tests), 'plan')} tested"
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "verdict": self.verdict,
            "guarantee": str(self.guarantee),
            **self.guarantee.to_json(),
            "plan": None if self.plan is None else str(self.plan),
            "rows": self.rows,
            "attained": self.attained._asdict(),
            "lower_bound": self.lower_bound,
            "queries_needed": self.queries_needed,
            "queries": self.queries,
            "n_self_matches": self.n_self_matches,
            "seed": self.seed,
            "assumptions": list(ASSUMPTIONS),
            "evidence": [test.to_json() for test in self.plan_tests],
        }
