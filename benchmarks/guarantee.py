"""Does the guarantee of a tuned plan hold? Calibrations resampled from real queries.

    python -m benchmarks.guarantee [--vectors FILE] [--pool 5000] [--rounds 300]

Some rows, drawn at random, are taken out and asked as queries; the others are indexed. Every plan
of the tuner's grid answers every query once. Then, round after round, a sample of the queries goes
through the tuner's own split, order and tests, and the mean over all *other* queries counts as the
truth. A round fails when a plan is certified whose true value is below the target; the guarantee is
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
from nestvec.tuning.guarantee import Guarantee
from nestvec.tuning.plan_scores import PlanScores, measure_plan
from nestvec.tuning.queries import EvaluationQueries
from nestvec.tuning.tuner import (
    Measure,
    certify_in_order,
    choose_candidates,
    last_passing,
    order_plans,
    split_queries,
)

HERE = Path(__file__).parent
VECTORS = HERE / "data" / "arxiv-titles.corpus.npy"
RESULT = HERE / "results" / "guarantee.json"
K = 10

Measurements = Mapping[Plan, PlanScores]
"""What each plan finds of every query."""


@dataclass(frozen=True)
class Case:
    """A guarantee, and how many queries there are to make it with."""

    guarantee: Guarantee
    sample: int


class Cautious(Guarantee):
    """A guarantee of a mean, tested by its value alone."""

    def p_below(self, kept: Float64[np.ndarray, " q"]) -> float:
        return hoeffding_bentkus(float((1 - kept).mean()), len(kept), 1 - self.target)


CASES = (
    Case(Guarantee(K, 0.90, 0.9), 200),
    Case(Guarantee(K, 0.95, 0.9), 400),
    Case(Guarantee(K, 0.99, 0.9), 1000),
    Case(Guarantee(K, 0.95, 0.95), 400),
    Case(Guarantee(K, 0.99, 0.95), 1000),
    Case(Guarantee(K, 0.90, 0.9, "all"), 400),
    Case(Guarantee(K, 0.95, 0.95, "shortlist_recall"), 400),
)


class Taken(NamedTuple):
    """The true value of a plan that a sample led to, and what it reads."""

    true: float
    cost: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=Path, default=VECTORS)
    parser.add_argument("--pool", type=int, default=5000, help="queries taken out")
    parser.add_argument("--rounds", type=int, default=300, help="calibrations per guarantee")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    vectors = np.load(options.vectors, mmap_mode="r")
    with tempfile.TemporaryDirectory() as folder:
        measured, rule = measure_all(vectors, options.pool, options.seed, Path(folder))
    rng = np.random.default_rng(options.seed)
    cases = [
        case_result(case, measured[case.guarantee.measure], rule, options.rounds, rng)
        for case in CASES
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
    questions = EvaluationQueries(vectors[shuffled[:pool]]).of(index, Guarantee(K), bar)
    recall, shortlist = Guarantee(K), Guarantee(K, measure="shortlist_recall")

    def on_all(guarantee: Guarantee) -> Measurements:
        plans, measured = choose_candidates(index, guarantee, None), {}
        with bar("plans", len(plans)) as advance:
            for plan in plans:
                measured[plan] = measure_plan(questions, guarantee, plan)
                advance(1)
        return measured

    recalls, rule = on_all(recall), measure_plan(questions, recall, index.default_plan(K))
    measured = {"recall": recalls, "all": recalls, "shortlist_recall": on_all(shortlist)}
    return measured, rule.bytes_per_query


def case_result(
    case: Case, measured: Measurements, rule_bytes: float, rounds: int, rng: np.random.Generator
) -> dict[str, object]:
    """How often the guarantee fails, with an exact interval, and what it costs."""
    made = [one_round(case, measured, rng) for _ in range(rounds)]
    target = case.guarantee.target
    ways = {way: outcome([one[way] for one in made], target) for way in made[0]}
    print(f"{case.guarantee}, {case.sample} queries:", {w: o["failed"] for w, o in ways.items()})
    return {
        "guarantee": asdict(case.guarantee), "sample": case.sample, "allowed": case.guarantee.delta,
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
    guarantee, pool = case.guarantee, len(next(iter(measured.values())).attained)
    shuffled = rng.permutation(pool)
    sample, others = shuffled[: case.sample], shuffled[case.sample :]
    ordering, certifying = split_queries(len(sample), rng)
    sequence = order_plans(list(measured), on(measured, sample[ordering]), silent)

    def tuned(guarantee: Guarantee) -> Plan | None:
        trials, _ = certify_in_order(sequence, on(measured, sample[certifying]), guarantee, silent)
        return last_passing(trials, guarantee)

    def taken(plan: Plan | None) -> Taken | None:
        if plan is None:
            return None
        true = mean_kept(guarantee, measured[plan].attained[others])
        return Taken(true, measured[plan].bytes_per_query)

    good = [
        p
        for p in measured
        if mean_kept(guarantee, measured[p].attained[sample]) >= guarantee.target
    ]
    naive = min(good, key=lambda plan: measured[plan].bytes_per_query, default=None)
    found = {"tuned": taken(tuned(guarantee)), "naive": taken(naive)}
    if guarantee.measure == "recall":
        found["hoeffding_bentkus"] = taken(tuned(Cautious(**asdict(guarantee))))
    return found


def on(measured: Measurements, queries: np.ndarray) -> Measure:
    """Measuring as the tuner does it, read off what is known of some queries."""
    return lambda plan: PlanScores(measured[plan].attained[queries], measured[plan].bytes_per_query)


def mean_kept(guarantee: Guarantee, attained: np.ndarray) -> float:
    return float(guarantee.scores(attained).mean())


if __name__ == "__main__":
    main()
