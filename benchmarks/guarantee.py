"""Does the promise of a tuned plan hold? Calibrations resampled from real queries.

    python -m benchmarks.guarantee [--vectors FILE] [--pool 5000] [--rounds 300]

Some rows, drawn at random, are taken out and asked as queries; the others are indexed. Every plan
of the tuner's grid answers every query once. Then, round after round, a sample of the queries goes
through the tuner's own split, order and tests, and the mean over all *other* queries counts as the
truth. A round fails when a plan is certified whose true value is below the target; the promise is
that this happens in at most 1 − confidence of the rounds.

`naive` is what many do: the cheapest plan whose mean on the same sample reaches the target. Writes
`results/guarantee.json`.
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
from nestvec.index.defaults import default_plan
from nestvec.plan import Plan
from nestvec.progress import bar, silent
from nestvec.statistics import Estimate, proportion
from nestvec.tune.grid import plan_grid
from nestvec.tune.promise import Promise
from nestvec.tune.questions import Measured, Questions
from nestvec.tune.tuner import Measure, certify, chosen, in_order, split

HERE = Path(__file__).parent
VECTORS = HERE / "data" / "arxiv-titles.corpus.npy"
RESULT = HERE / "results" / "guarantee.json"
K = 10


@dataclass(frozen=True)
class Case:
    """A promise, and how many queries there are to make it with."""

    promise: Promise
    sample: int


CASES = (
    Case(Promise(K, 0.90, 0.9), 200),
    Case(Promise(K, 0.95, 0.9), 400),
    Case(Promise(K, 0.99, 0.9), 1000),
    Case(Promise(K, 0.95, 0.95, "recall"), 400),
    Case(Promise(K, 0.90, 0.9, "all"), 400),
)


class Round(NamedTuple):
    """The true values of what a calibration certifies, and of what the naive way takes."""

    tuned: float | None
    cost: float | None
    naive: float | None


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
    cases = [case_result(case, measured, rule, options.rounds, rng) for case in CASES]
    told = {
        "vectors": options.vectors.name, "rows": len(vectors) - options.pool,
        "pool": options.pool, "rounds": options.rounds, "seed": options.seed,
        "plans": len(measured), "cases": cases,
    }  # fmt: skip
    RESULT.write_text(json.dumps(told, indent=1) + "\n")


def measure_all(
    vectors: np.ndarray, pool: int, seed: int, folder: Path
) -> tuple[dict[Plan, Measured], Plan]:
    """What every plan of the grid finds of every query, and the rule's plan."""
    shuffled = np.random.default_rng(seed).permutation(len(vectors))
    index = nv.Index.build(vectors[np.sort(shuffled[pool:])], folder / "index.nv", progress=bar)
    questions = Questions.ask(index, vectors[shuffled[:pool]], K, bar)
    grid = plan_grid(index.snapshot, K)
    with bar("plans", len(grid)) as advance:
        measured = {}
        for plan in grid:
            measured[plan] = questions.measure(plan)
            advance(1)
    return measured, default_plan(index.snapshot.largest, K)


def case_result(
    case: Case,
    measured: Mapping[Plan, Measured],
    rule: Plan,
    rounds: int,
    rng: np.random.Generator,
) -> dict[str, object]:
    """How often the promise fails, with an exact interval."""
    made = [one_round(case, measured, rng) for _ in range(rounds)]
    target, delta = case.promise.target, case.promise.delta
    failures = share(made, [one.tuned is not None and one.tuned < target for one in made])
    naive = share(made, [one.naive is not None and one.naive < target for one in made])
    certified = [one for one in made if one.tuned is not None]
    told = {
        "promise": asdict(case.promise), "sample": case.sample, "certified": len(certified),
        "allowed": delta, "failed": failures._asdict(), "naive_failed": naive._asdict(),
        "median_true": float(np.median([one.tuned for one in certified])),
        "median_bytes": float(np.median([one.cost for one in certified])),
        "rule_bytes": measured[rule].bytes_per_query,
    }  # fmt: skip
    print(f"{case.promise}, {case.sample} queries: failed {failures}, naive {naive}")
    return told


def share(made: Sequence[Round], fails: Sequence[bool]) -> Estimate:
    return proportion(sum(fails), len(made))


def one_round(case: Case, measured: Mapping[Plan, Measured], rng: np.random.Generator) -> Round:
    """Calibrate on a sample; the truth is the mean of all other queries."""
    promise, pool = case.promise, len(next(iter(measured.values())).recalls)
    shuffled = rng.permutation(pool)
    sample, others = shuffled[: case.sample], shuffled[case.sample :]
    ordering, certifying = split(len(sample), rng)
    sequence = in_order(list(measured), on(measured, sample[ordering]), silent)
    trials, _ = certify(sequence, on(measured, sample[certifying]), promise, silent)
    plan = chosen(trials, promise)

    def true(plan: Plan | None) -> float | None:
        return None if plan is None else mean_kept(promise, measured[plan].recalls[others])

    good = [
        p for p in measured if mean_kept(promise, measured[p].recalls[sample]) >= promise.target
    ]
    naive = min(good, key=lambda p: measured[p].bytes_per_query, default=None)
    cost = None if plan is None else measured[plan].bytes_per_query
    return Round(true(plan), cost, true(naive))


def on(measured: Mapping[Plan, Measured], queries: np.ndarray) -> Measure:
    """Measuring as the tuner does it, read off what is known of some queries."""
    return lambda plan: Measured(measured[plan].recalls[queries], measured[plan].bytes_per_query)


def mean_kept(promise: Promise, recalls: np.ndarray) -> float:
    return float(promise.kept(recalls).mean())


if __name__ == "__main__":
    main()
