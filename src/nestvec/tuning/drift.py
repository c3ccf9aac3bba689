"""Does the promise of a tuned plan still hold for new queries?"""

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.plan import Plan
from nestvec.progress import Progress
from nestvec.statistics import Estimate
from nestvec.tuning.guarantee import Promise
from nestvec.tuning.losses import measure
from nestvec.tuning.queries import Asked

Verdict = Literal["HOLDS", "BROKEN", "INSUFFICIENT DATA"]


@dataclass(frozen=True, slots=True)
class Drift:
    """A kept plan on new queries: its promise is shown anew, or refuted, or neither.

    Each is a test of its own at the promise's confidence, on all the queries.
    """

    verdict: Verdict
    promise: Promise
    plan: Plan
    current: bool
    """Whether the rows are still those that the plan was tuned for."""
    served: Estimate
    """What is to reach the target: mean recall, a share of queries, or 1 − mean loss of nDCG."""
    lower_bound: float
    p_missed: float
    """That the target is missed; small where the promise holds."""
    p_reached: float
    """That the target is reached; small where the promise is broken."""
    needed: int | None
    """How many queries, served as these are, would show that it holds; None: none would."""
    optimistic: int
    """How many queries are rows of the index."""

    def __str__(self) -> str:
        value, low, high, n = self.served
        lines = [
            f"{self.verdict}: '{self.plan}' was tuned for {self.promise}",
            f"  {value:.4f} [{low:.4f}, {high:.4f}] on {n:,} new queries, one-sided bound "
            f"{self.lower_bound:.4f}; p {self.p_missed:.3g} that it misses the target, "
            f"{self.p_reached:.3g} that it reaches it",
        ]
        if self.verdict == "INSUFFICIENT DATA" and self.needed is not None:
            lines.append(f"  some {self.needed:,} such queries would show that it holds")
        if not self.current:
            lines.append("  STALE: rows have changed since, so searches do not use it; tune again")
        if self.optimistic:
            lines.append(f"  OPTIMISTIC: {self.optimistic} queries are rows of the index")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "verdict": self.verdict,
            "promise": str(self.promise),
            **self.promise.to_json(),
            "plan": str(self.plan),
            "current": self.current,
            "served": self.served._asdict(),
            "lower_bound": self.lower_bound,
            "p_missed": self.p_missed,
            "p_reached": self.p_reached,
            "needed": self.needed,
            "optimistic": self.optimistic,
        }


def run(index: Index, asked: Asked, k: int, seed: int, progress: Progress) -> Drift:
    """What `nestvec.tuning.check` does."""
    if k not in index.tuned:
        raise InputError(
            f"{index.path} keeps no tuned plan for k={k} (it keeps some for: "
            f"{', '.join(map(str, sorted(index.tuned))) or 'none'}); tune one first"
        )
    tuned = index.tuned[k]
    promise = Promise(**{field.name: tuned.evidence[field.name] for field in fields(Promise)})
    questions = asked.of(index, promise, progress)
    rng = np.random.default_rng(seed)
    # Shuffled: tests that bet must not see queries sorted by how hard they are.
    kept = rng.permutation(promise.kept(measure(questions, promise, tuned.plan).served))
    p_missed, p_reached = promise.p_missed(kept), promise.p_reached(kept)
    return Drift(
        verdict=_verdict(p_missed, p_reached, promise.delta),
        promise=promise,
        plan=tuned.plan,
        current=tuned.current,
        served=promise.estimate(kept, rng),
        lower_bound=promise.lower_bound(kept),
        p_missed=p_missed,
        p_reached=p_reached,
        needed=promise.queries_needed(kept),
        optimistic=questions.optimistic,
    )


def _verdict(p_missed: float, p_reached: float, delta: float) -> Verdict:
    if p_missed <= delta:
        return "HOLDS"
    return "BROKEN" if p_reached <= delta else "INSUFFICIENT DATA"
