"""Hard negatives: how often a variant still ranks the positive first, and which it loses."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special  # not scipy.stats, which takes half a second to import

from nestvec.auditing.measures.margins import (
    Groups,
    groups_of,
    hardest,
    per_query,
    take,
    triplets_of_kind,
    wins,
)
from nestvec.auditing.measures.paired import (
    CONFIDENCE,
    Paired,
    drop_missing,
    interaction,
    retention,
)
from nestvec.auditing.ranking.scorers import Scorer
from nestvec.auditing.types import CheckResult, Triplets
from nestvec.data import UNLABELLED
from nestvec.errors import InputError
from nestvec.shapes import Bool, Float64
from nestvec.statistics import (
    Estimate,
    bootstrap_mean,
    holm,
    mcnemar,
    proportion,
)

QUANTILES = (0.05, 0.25, 0.5)
SIGNIFICANCE_LEVEL = 0.05
"""Level of the tests, over all kinds together, that a kind loses more than it wins."""


def hard_negative_metrics(
    full: Scorer, variant: Scorer, triplets: Triplets, rng: np.random.Generator
) -> CheckResult:
    """Measure how often a positive beats its negatives, and which comparisons flipped.

    Every query weighs the same, however many triplets it has, and is the unit of every interval.
    A group is a query and a positive with all its negatives. Metrics, each also per kind of
    negative as `name:kind`:

    - `triplet_accuracy`: P(s⁺ > s⁻), a tie counts ½; chance is ½.
    - `group_accuracy`: all negatives of the group are beaten, a tie counts as lost.
    - `net_flips`: groups that only the full vectors get right minus those that only the variant
      does, per group; above 0 is a loss. `flip_loss`: the share lost of those that the full vectors
      get right.

    And over all kinds: `triplet_retention` (variant / full); `rank_in_set`, 1 + the negatives that
    are not beaten; `margin_p5`, `margin_p25` and `margin_p50`, quantiles over groups of
    s⁺ − max s⁻ in standard deviations of random scores (cosines at different widths are not on one
    scale), left out where there are too few groups for a distribution-free interval, or no scale.

    Details, as "hard_negatives", contain overall and for each of `kinds` chance, the full vectors'
    values and the flip table with McNemar's exact p (which takes groups as independent: pass one
    positive per query), and `kinds_lost`: kinds that lose more than they win, at 5 % after Holm's
    correction.
    """
    margins = Paired(full.margins(triplets), variant.margins(triplets))
    metrics, details = _compare(margins, triplets, rng)
    groups = groups_of(triplets)
    metrics |= drop_missing(
        {
            "triplet_retention": retention(_accuracies(margins, triplets), rng),
            "rank_in_set": _rank_in_set(margins.variant, groups, rng),
        }
    )
    metrics |= _margin_quantiles(margins.variant, variant.score_std(rng), groups)
    details["full"] |= _as_json(_margin_quantiles(margins.full, full.score_std(rng), groups))
    details["kinds"] = {}
    for kind in sorted(set(triplets.kinds), key=_place_of_kind):
        rows = triplets_of_kind(triplets, kind)
        kind_margins = Paired(margins.full[rows], margins.variant[rows])
        of_kind, details["kinds"][kind] = _compare(kind_margins, take(triplets, rows), rng)
        metrics |= {f"{name}:{kind}": estimate for name, estimate in of_kind.items()}
    details["kinds_lost"] = _kinds_lost(details["kinds"])
    return CheckResult(metrics, {"hard_negatives": details})


def excess_fragility(
    full: Scorer, variant: Scorer, triplets: Triplets, n: int, rng: np.random.Generator
) -> CheckResult:
    """Measure whether compression hurts hard negatives more than random ones, as one number.

    `excess_fragility` is the retention (variant / full) of triplet accuracy on the triplets over
    that on the same queries and positives with random ones of the first `n` documents as
    negatives; below 1: hard negatives suffer more. Also `retention_hard` and `retention_easy`.
    Paired bootstrap of queries. A metric is left out where its divisor is 0.
    """
    easy = random_triplets(triplets, n, rng)
    hard_values, easy_values = (
        _accuracies(Paired(full.margins(kind), variant.margins(kind)), kind)
        for kind in (triplets, easy)
    )
    metrics = {
        "excess_fragility": interaction(easy_values, hard_values, rng),
        "retention_hard": retention(hard_values, rng),
        "retention_easy": retention(easy_values, rng),
    }
    return CheckResult(drop_missing(metrics))


def random_triplets(triplets: Triplets, n: int, rng: np.random.Generator) -> Triplets:
    """Replace each negative by a random one of `n` documents; their kind is "random".

    Never a document that the triplets name as a positive of the query.
    """
    positives = np.unique(triplets.queries * n + triplets.positives)
    if np.bincount(positives // n).max() >= n:
        raise InputError(
            f"every one of the {n} documents is a positive of one query; add other documents"
        )
    negatives = rng.integers(n, size=len(triplets.queries))
    while (wrong := np.isin(triplets.queries * n + negatives, positives)).any():
        negatives[wrong] = rng.integers(n, size=int(wrong.sum()))
    kinds = ("random",) * len(negatives)
    return Triplets(triplets.queries, triplets.positives, negatives, kinds)


def _place_of_kind(kind: str) -> tuple[str, str]:
    """Return the sort key of a kind.

    Unlabelled negatives stay where "given", their name in schema 1, stood: kinds draw their random
    numbers one after the other, so that another order would change every interval.
    """
    return "given" if kind == UNLABELLED else kind, kind


def _compare(
    margins: Paired, triplets: Triplets, rng: np.random.Generator
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """Compute metrics of triplets, and details: chance, values of full vectors, the flip table."""
    groups = groups_of(triplets)
    full_correct, variant_correct = (hardest(values, groups) > 0 for values in margins)
    triplet_accuracy = _accuracies(margins, triplets)
    group_accuracy = Paired(
        per_query(full_correct.astype(float), groups.queries),
        per_query(variant_correct.astype(float), groups.queries),
    )
    flips, table = _flips(full_correct, variant_correct, groups, rng)
    metrics = {
        "triplet_accuracy": _share(triplet_accuracy.variant, rng),
        "group_accuracy": _share(group_accuracy.variant, rng),
    }
    full_metrics = {
        "triplet_accuracy": _share(triplet_accuracy.full, rng),
        "group_accuracy": _share(group_accuracy.full, rng),
    }
    at_random = {"triplet_accuracy": 0.5, "group_accuracy": float((1 / (1 + groups.sizes)).mean())}
    return metrics | flips, {"chance": at_random, "full": _as_json(full_metrics), "flips": table}


def _flips(
    full: Bool[np.ndarray, " groups"],
    variant: Bool[np.ndarray, " groups"],
    groups: Groups,
    rng: np.random.Generator,
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    lost, won = int((full & ~variant).sum()), int((variant & ~full).sum())
    net = per_query(full.astype(float) - variant.astype(float), groups.queries)
    metrics = {"net_flips": bootstrap_mean(net, rng)}
    if full.any():
        metrics["flip_loss"] = proportion(lost, int(full.sum()))
    unchanged = {
        "both_right": int((full & variant).sum()),
        "both_wrong": int((~full & ~variant).sum()),
    }
    return metrics, unchanged | {"lost": lost, "won": won, "p": mcnemar(lost, won)}


def _accuracies(margins: Paired, triplets: Triplets) -> Paired:
    """Compute the triplet accuracy of each query."""
    return Paired(*(per_query(wins(values), triplets.queries) for values in margins))


def _share(values: Float64[np.ndarray, " q"], rng: np.random.Generator) -> Estimate:
    """Average shares; the interval is exact where all are 0 or 1, as a bootstrap has no width."""
    if np.isin(values, (0.0, 1.0)).all():
        return proportion(int(values.sum()), len(values))
    return bootstrap_mean(values, rng)


def _rank_in_set(
    margins: Float64[np.ndarray, " t"], groups: Groups, rng: np.random.Generator
) -> Estimate:
    ranks = 1 + np.bincount(groups.triplet_groups, margins <= 0, len(groups.sizes))
    return bootstrap_mean(per_query(ranks, groups.queries), rng)


def _margin_quantiles(
    margins: Float64[np.ndarray, " t"], std: float | None, groups: Groups
) -> dict[str, Estimate]:
    if std is None:
        return {}
    hardest_margins = hardest(margins, groups) / std
    return drop_missing(
        {f"margin_p{round(100 * share)}": _quantile(hardest_margins, share) for share in QUANTILES}
    )


def _quantile(values: Float64[np.ndarray, " groups"], share: float) -> Estimate | None:
    """Estimate a quantile between two order statistics; None if there are too few values for them.

    The number of values below the true quantile is binomial, whatever their distribution.
    """
    n, tail = len(values), (1 - CONFIDENCE) / 2
    cumulative = special.bdtr(np.arange(n), n, share)
    low = int(np.searchsorted(cumulative, tail, side="right")) - 1
    high = int(np.searchsorted(cumulative, 1 - tail))
    if low < 0 or high == n:
        return None
    ordered = np.sort(values)
    return Estimate(float(np.quantile(values, share)), float(ordered[low]), float(ordered[high]), n)


def _kinds_lost(kinds: Mapping[str, Any]) -> list[str]:
    flips = {kind: details["flips"] for kind, details in kinds.items()}
    p_values = holm([table["p"] for table in flips.values()])
    return [
        kind
        for (kind, table), p in zip(flips.items(), p_values, strict=True)
        if table["lost"] > table["won"] and p < SIGNIFICANCE_LEVEL
    ]


def _as_json(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate._asdict() for name, estimate in metrics.items()}
