"""Does the promise of a tuned plan hold? Calibrations resampled from real queries.

    python -m benchmarks.guarantee [--vectors FILE] [--pool 5000] [--rounds 300]

Some rows, drawn at random, are taken out and asked as queries; the others are indexed. Every plan
of the tuner's grid answers every query once. Then, round after round, a sample of the queries goes
through the tuner's own split, order and tests, and the mean over all *other* queries counts as the
truth. A round fails when a plan is certified whose true value is below the target; the promise is
that this happens in at most 1 − confidence of the rounds.

`hoeffding_bentkus` does the same with that test of the mean, which knows nothing of how losses
spread. `naive` is what many do: the cheapest plan whose mean on the same sample reaches the target.
Writes `results/guarantee.json`.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

import nestvec as nv
from nestvec.plan import Plan
from nestvec.progress import bar, silent
from nestvec.shapes import Float64
from nestvec.statistics import hoeffding_bentkus, proportion
from nestvec.tuning.guarantee import Promise
from nestvec.tuning.losses import Measured, measure
from nestvec.tuning.queries import Asked
from nestvec.tuning.tuner import Measure, candidates, certify, chosen, in_order, split

HERE = Path(__file__).parent
VECTORS = HERE / "data" / "arxiv-titles.corpus.npy"
RESULT = HERE / "results" / "guarantee.json"
K = 10

Measurements = Mapping[Plan, Measured]
"""What each plan finds of every query."""


@dataclass(frozen=True)
class Case:
    """A promise, and how many queries there are to make it with."""

    promise: Promise
    sample: int


class Cautious(Promise):
    """A promise of a mean, tested by its value alone."""

    def p_missed(self, kept: Float64[np.ndarray, " q"]) -> float:
        return hoeffding_bentkus(float((1 - kept).mean()), len(kept), 1 - self.target)


CASES = (
    Case(Promise(K, 0.90, 0.9), 200),
    Case(Promise(K, 0.95, 0.9), 400),
    Case(Promise(K, 0.99, 0.9), 1000),
    Case(Promise(K, 0.95, 0.95), 400),
    Case(Promise(K, 0.99, 0.95), 1000),
    Case(Promise(K, 0.90, 0.9, "all"), 400),
    Case(Promise(K, 0.95, 0.95, "containment"), 400),
)


class Taken(NamedTuple):
    """The true value of a plan that a sample led to, and what it reads."""

    true: float
    cost: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=Path, default=VECTORS)
    parser.add_argument("--pool", type=int, default=5000, help="queries taken out")
    parser.add_argument("--rounds", type=int, default=300, help="calibrations per promise")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    vectors = np.load(options.vectors, mmap_mode="r")
    with tempfile.TemporaryDirectory() as folder:
        measured, rule = measure_all(vectors, options.pool, options.seed, Path(folder))
    rng = np.random.default_rng(options.seed)
    cases = [
        case_result(case, measured[case.promise.loss], rule, options.rounds, rng) for case in CASES
    ]
    told = {
        "vectors": options.vectors.name, "rows": len(vectors) - options.pool,
        "dim": vectors.shape[1], "pool": options.pool, "rounds": options.rounds,
        "seed": options.seed, "cases": cases,
    }  # fmt: skip
    RESULT.write_text(json.dumps(told, indent=1) + "\n")


def measure_all(
    vectors: np.ndarray, pool: int, seed: int, folder: Path
) -> tuple[dict[str, Measurements], float]:
    """By what is promised, all plans to choose from on every query; and what the default reads."""
    shuffled = np.random.default_rng(seed).permutation(len(vectors))
    index = nv.Index.build(vectors[np.sort(shuffled[pool:])], folder / "index.nv", progress=bar)
    questions = Asked(vectors[shuffled[:pool]]).of(index, Promise(K), bar)
    recall, shortlist = Promise(K), Promise(K, loss="containment")

    def on_all(promise: Promise) -> Measurements:
        plans, measured = candidates(index, promise, None), {}
        with bar("plans", len(plans)) as advance:
            for plan in plans:
                measured[plan] = measure(questions, promise, plan)
                advance(1)
        return measured

    recalls, rule = on_all(recall), measure(questions, recall, index.default_plan(K))
    measured = {"recall": recalls, "all": recalls, "containment": on_all(shortlist)}
    return measured, rule.bytes_per_query


def case_result(
    case: Case, measured: Measurements, rule_bytes: float, rounds: int, rng: np.random.Generator
) -> dict[str, object]:
    """How often the promise fails, with an exact interval, and what it costs."""
    made = [one_round(case, measured, rng) for _ in range(rounds)]
    target = case.promise.target
    ways = {way: outcome([one[way] for one in made], target) for way in made[0]}
    print(f"{case.promise}, {case.sample} queries:", {w: o["failed"] for w, o in ways.items()})
    return {
        "promise": asdict(case.promise), "sample": case.sample, "allowed": case.promise.delta,
        "rule_bytes": rule_bytes, **ways,
    }  # fmt: skip


def outcome(taken: Sequence[Taken | None], target: float) -> dict[str, object]:
    """How often a plan was found and how often it misses the target, its median truth and cost."""
    found = [one for one in taken if one is not None]
    failed = proportion(sum(one.true < target for one in found), len(taken))
    return {
        "found": len(found),
        "failed": failed._asdict(),
        "median_true": float(np.median([one.true for one in found])),
        "median_bytes": float(np.median([one.cost for one in found])),
    }


def one_round(
    case: Case, measured: Measurements, rng: np.random.Generator
) -> dict[str, Taken | None]:
    """Calibrate on a sample, each way; the truth is the mean of all other queries."""
    promise, pool = case.promise, len(next(iter(measured.values())).served)
    shuffled = rng.permutation(pool)
    sample, others = shuffled[: case.sample], shuffled[case.sample :]
    ordering, certifying = split(len(sample), rng)
    sequence = in_order(list(measured), on(measured, sample[ordering]), silent)

    def tuned(promise: Promise) -> Plan | None:
        trials, _ = certify(sequence, on(measured, sample[certifying]), promise, silent)
        return chosen(trials, promise)

    def taken(plan: Plan | None) -> Taken | None:
        if plan is None:
            return None
        true = mean_kept(promise, measured[plan].served[others])
        return Taken(true, measured[plan].bytes_per_query)

    good = [p for p in measured if mean_kept(promise, measured[p].served[sample]) >= promise.target]
    naive = min(good, key=lambda plan: measured[plan].bytes_per_query, default=None)
    found = {"tuned": taken(tuned(promise)), "naive": taken(naive)}
    if promise.loss == "recall":
        found["hoeffding_bentkus"] = taken(tuned(Cautious(**asdict(promise))))
    return found


def on(measured: Measurements, queries: np.ndarray) -> Measure:
    """Measuring as the tuner does it, read off what is known of some queries."""
    return lambda plan: Measured(measured[plan].served[queries], measured[plan].bytes_per_query)


def mean_kept(promise: Promise, served: np.ndarray) -> float:
    return float(promise.kept(served).mean())


if __name__ == "__main__":
    main()
