"""Does the guarantee of a tuned plan hold? Calibrations resampled from real queries.

    python -m benchmarks.guarantee [--vectors FILE] [--pool 5000] [--rounds 300]

Some rows, drawn at random, are held out as queries; the others are indexed. Every candidate plan
searches every query once. Then, round after round, a sample of the queries goes through the tuner's
split, order and tests, and the mean over all *other* queries counts as the truth. A round fails
when the tuner chooses a plan whose true value is below the target; the guarantee is that this
happens in at most 1 − confidence of the rounds.

`hoeffding_bentkus` does the same with that test of the mean, which ignores the variance of the
losses. `naive` is what many do: the cheapest plan whose mean on the same sample reaches the target.
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
    ScorePlan,
    choose_candidates,
    last_passing,
    order_plans,
    run_plan_tests,
    split_queries,
)

HERE = Path(__file__).parent
VECTORS = HERE / "data" / "arxiv-titles.corpus.npy"
RESULT = HERE / "results" / "guarantee.json"
K = 10

ScoresOfPlans = Mapping[Plan, PlanScores]
"""The scores of each plan on every query."""


@dataclass(frozen=True)
class Case:
    """A guarantee, and the number of queries in the sample that it is tuned on."""

    guarantee: Guarantee
    sample: int


class HoeffdingBentkus(Guarantee):
    """A guarantee of a mean that is tested by the Hoeffding–Bentkus bound."""

    def p_below(self, scores: Float64[np.ndarray, " q"]) -> float:
        return hoeffding_bentkus(float((1 - scores).mean()), len(scores), 1 - self.target)


CASES = (
    Case(Guarantee(K, 0.90, 0.9), 200),
    Case(Guarantee(K, 0.95, 0.9), 400),
    Case(Guarantee(K, 0.99, 0.9), 1000),
    Case(Guarantee(K, 0.95, 0.95), 400),
    Case(Guarantee(K, 0.99, 0.95), 1000),
    Case(Guarantee(K, 0.90, 0.9, "perfect_recall"), 400),
    Case(Guarantee(K, 0.95, 0.95, "shortlist_recall"), 400),
)


class ChosenPlan(NamedTuple):
    """The true value of the plan chosen on a sample, and the bytes that it reads per query."""

    truth: float
    bytes_per_query: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=Path, default=VECTORS)
    parser.add_argument("--pool", type=int, default=5000, help="held-out queries")
    parser.add_argument("--rounds", type=int, default=300, help="calibrations per guarantee")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    vectors = np.load(options.vectors, mmap_mode="r")
    with tempfile.TemporaryDirectory() as folder:
        scores, default_bytes = score_all(vectors, options.pool, options.seed, Path(folder))
    rng = np.random.default_rng(options.seed)
    cases = [
        case_result(case, scores[case.guarantee.measure], default_bytes, options.rounds, rng)
        for case in CASES
    ]
    result = {
        "vectors": options.vectors.name, "rows": len(vectors) - options.pool,
        "dim": vectors.shape[1], "pool": options.pool, "rounds": options.rounds,
        "seed": options.seed, "cases": cases,
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def score_all(
    vectors: np.ndarray, pool: int, seed: int, folder: Path
) -> tuple[dict[str, ScoresOfPlans], float]:
    """Score all candidate plans on every query, by measure; also count the default's bytes."""
    shuffled = np.random.default_rng(seed).permutation(len(vectors))
    index = nv.Index.build(vectors[np.sort(shuffled[pool:])], folder / "index.nv", progress=bar)
    queries = EvaluationQueries(vectors[shuffled[:pool]])
    ground_truth = queries.with_ground_truth(index, Guarantee(K), bar)
    recall, shortlist = Guarantee(K), Guarantee(K, measure="shortlist_recall")

    def score_candidates(guarantee: Guarantee) -> ScoresOfPlans:
        plans, scores = choose_candidates(index, guarantee, None), {}
        with bar("plans", len(plans)) as advance:
            for plan in plans:
                scores[plan] = measure_plan(ground_truth, guarantee, plan)
                advance(1)
        return scores

    recalls, default = (
        score_candidates(recall),
        measure_plan(ground_truth, recall, index.default_plan(K)),
    )
    scores = {
        "recall": recalls,
        "perfect_recall": recalls,
        "shortlist_recall": score_candidates(shortlist),
    }
    return scores, default.bytes_per_query


def case_result(
    case: Case, scores: ScoresOfPlans, default_bytes: float, rounds: int, rng: np.random.Generator
) -> dict[str, object]:
    """Measure how often the guarantee fails, with an exact interval, and its cost."""
    choices = [one_round(case, scores, rng) for _ in range(rounds)]
    target = case.guarantee.target
    outcomes = {
        method: outcome([choice[method] for choice in choices], target) for method in choices[0]
    }
    failed = {method: result["failed"] for method, result in outcomes.items()}
    print(f"{case.guarantee}, {case.sample} queries:", failed)
    return {
        "guarantee": asdict(case.guarantee), "sample": case.sample, "allowed": case.guarantee.delta,
        "default_bytes": default_bytes, **outcomes,
    }  # fmt: skip


def outcome(choices: Sequence[ChosenPlan | None], target: float) -> dict[str, object]:
    """Count the rounds that chose a plan and those whose plan misses the target; median values."""
    chosen = [choice for choice in choices if choice is not None]
    failed = proportion(sum(choice.truth < target for choice in chosen), len(choices))
    return {
        "found": len(chosen),
        "failed": failed._asdict(),
        "median_true": float(np.median([choice.truth for choice in chosen])),
        "median_bytes": float(np.median([choice.bytes_per_query for choice in chosen])),
    }


def one_round(
    case: Case, scores: ScoresOfPlans, rng: np.random.Generator
) -> dict[str, ChosenPlan | None]:
    """Choose a plan on a sample by each method; the truth is the mean over all other queries."""
    guarantee, pool = case.guarantee, len(next(iter(scores.values())).attained)
    shuffled = rng.permutation(pool)
    sample, others = shuffled[: case.sample], shuffled[case.sample :]
    ordering, testing = split_queries(len(sample), rng)
    sequence = order_plans(list(scores), scorer_on(scores, sample[ordering]), silent)

    def tuned(guarantee: Guarantee) -> Plan | None:
        score_plan = scorer_on(scores, sample[testing])
        plan_tests, _ = run_plan_tests(sequence, score_plan, guarantee, silent)
        return last_passing(plan_tests, guarantee)

    def chosen(plan: Plan | None) -> ChosenPlan | None:
        if plan is None:
            return None
        truth = mean_score(guarantee, scores[plan].attained[others])
        return ChosenPlan(truth, scores[plan].bytes_per_query)

    reaching = [
        plan
        for plan in scores
        if mean_score(guarantee, scores[plan].attained[sample]) >= guarantee.target
    ]
    naive = min(reaching, key=lambda plan: scores[plan].bytes_per_query, default=None)
    choices = {"tuned": chosen(tuned(guarantee)), "naive": chosen(naive)}
    if guarantee.measure == "recall":
        choices["hoeffding_bentkus"] = chosen(tuned(HoeffdingBentkus(**asdict(guarantee))))
    return choices


def scorer_on(scores: ScoresOfPlans, queries: np.ndarray) -> ScorePlan:
    """Make the tuner's scorer of plans from scores that are known, for some of the queries."""
    return lambda plan: PlanScores(scores[plan].attained[queries], scores[plan].bytes_per_query)


def mean_score(guarantee: Guarantee, attained: np.ndarray) -> float:
    return float(guarantee.scores(attained).mean())


if __name__ == "__main__":
    main()
