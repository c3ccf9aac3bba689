"""Check on new queries whether the guarantee of a stored plan still holds."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.keywords import check_seed
from nestvec.plan import Plan
from nestvec.plurals import count_of
from nestvec.progress import Progress
from nestvec.statistics import Estimate
from nestvec.tuning.evidence import query_keys, read_keys
from nestvec.tuning.guarantee import Guarantee
from nestvec.tuning.plan_scores import measure_plan
from nestvec.tuning.queries import EvaluationQueries

DriftVerdict = Literal["HOLDS", "BROKEN", "INSUFFICIENT DATA"]


@dataclass(frozen=True, slots=True)
class DriftReport:
    """A stored plan on new queries: its guarantee HOLDS, is BROKEN, or neither is shown.

    Each verdict is a separate test at the guarantee's confidence, on all the queries.
    """

    verdict: DriftVerdict
    guarantee: Guarantee
    plan: Plan
    current: bool
    """True while the rows are those that the plan was tuned for."""
    attained: Estimate
    """The estimate of what must reach the target: see `Guarantee`."""
    lower_bound: float
    p_below: float
    """The p-value of "the target is missed"; small where the guarantee holds."""
    p_above: float
    """The p-value of "the target is reached"; small where the guarantee is broken."""
    queries_needed: int | None
    """How many queries like these would show that it holds; None where none would."""
    n_self_matches: int
    """How many queries equal rows of the index."""
    n_tuning_queries: int
    """How many queries were left out, because the plan was tuned on them."""

    def __str__(self) -> str:
        value, low, high, n = self.attained
        lines = [
            f"{self.verdict}: '{self.plan}' was tuned for {self.guarantee}",
            f"  {value:.4f} [{low:.4f}, {high:.4f}] on "
            f"{count_of(n, 'new query', 'new queries')}, one-sided bound "
            f"{self.lower_bound:.4f}; the p-value of 'it misses the target' is {self.p_below:.3g}, "
            f"of 'it reaches the target' {self.p_above:.3g}",
        ]
        if self.verdict == "INSUFFICIENT DATA" and self.queries_needed is not None:
            lines.append(f"  about {self.queries_needed:,} such queries would show that it holds")
        if not self.current:
            lines.append("  STALE: rows have changed since, so searches do not use it; tune again")
        if self.n_tuning_queries:
            left_out = count_of(
                self.n_tuning_queries,
                "further query was left out: the plan was tuned on it",
                "further queries were left out: the plan was tuned on them",
            )
            lines.append(f"  {left_out}")
        if self.n_self_matches:
            drawn = count_of(self.n_self_matches, "query is a row", "queries are rows")
            lines.append(f"  OPTIMISTIC: {drawn} of the index")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "verdict": self.verdict,
            "guarantee": str(self.guarantee),
            **self.guarantee.to_json(),
            "plan": str(self.plan),
            "current": self.current,
            "attained": self.attained._asdict(),
            "lower_bound": self.lower_bound,
            "p_below": self.p_below,
            "p_above": self.p_above,
            "queries_needed": self.queries_needed,
            "n_self_matches": self.n_self_matches,
            "n_tuning_queries": self.n_tuning_queries,
        }


def check_drift(
    index: Index, queries: EvaluationQueries, k: int, seed: int, progress: Progress
) -> DriftReport:
    """Test the stored plan for `k` on new queries; the work behind `nestvec.check_drift`."""
    check_seed(seed)
    if k not in index.stored_plans:
        raise InputError(
            f"{index.path} stores no tuned plan for k={k} (it stores plans for k: "
            f"{', '.join(map(str, sorted(index.stored_plans))) or 'none'}); tune one first"
        )
    stored = index.stored_plans[k]
    guarantee = Guarantee.from_evidence(stored.evidence)
    ground_truth = queries.with_ground_truth(index, guarantee, progress)
    keys = query_keys(ground_truth.queries)
    new = np.flatnonzero(~np.isin(keys, read_keys(stored.evidence)))
    if not len(new):
        raise InputError(
            f"the plan was tuned on these {len(ground_truth):,} queries, so they cannot check it; "
            "pass new queries"
        )
    n_tuning_queries = len(ground_truth) - len(new)
    ground_truth = ground_truth[new]
    rng = np.random.default_rng(seed)
    # Shuffled: tests that bet must not see queries sorted by how hard they are.
    attained, _ = measure_plan(ground_truth, guarantee, stored.plan)
    scores = rng.permutation(guarantee.scores(attained))
    p_below, p_above = guarantee.p_below(scores), guarantee.p_above(scores)
    return DriftReport(
        verdict=_verdict(p_below, p_above, guarantee.delta),
        guarantee=guarantee,
        plan=stored.plan,
        current=stored.current,
        attained=guarantee.estimate(scores, rng),
        lower_bound=guarantee.lower_bound(scores),
        p_below=p_below,
        p_above=p_above,
        queries_needed=guarantee.queries_needed(scores),
        n_self_matches=ground_truth.n_self_matches,
        n_tuning_queries=n_tuning_queries,
    )


def _verdict(p_below: float, p_above: float, delta: float) -> DriftVerdict:
    if p_below <= delta:
        return "HOLDS"
    return "BROKEN" if p_above <= delta else "INSUFFICIENT DATA"
