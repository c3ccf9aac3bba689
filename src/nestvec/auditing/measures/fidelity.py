"""What a variant keeps of the full vectors' answers, without any label, and how its space looks."""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import binom, skew

from nestvec.auditing.ranking.full_ranking import scores_of
from nestvec.auditing.types import DEPTH, Encoded, Findings, K, Ranking
from nestvec.shapes import Float32, Float64, Int64
from nestvec.statistics import Estimate, bootstrap_mean, proportion

SHARES = (0.95, 0.99)
"""Shortlists are to hold the whole true top ten for so many queries."""
KEPT = 0.95
"""Score gaps at which so many pairs keep their order are resolved."""

_SAMPLED_QUERIES = 500
_SAMPLED_PLACES = 16
_BINS = 64
_RESAMPLES = 200
_SAMPLED_ROWS = 10_000


def fidelity(
    agreed: Mapping[str, Float64[np.ndarray, " q"]],
    depths: Int64[np.ndarray, " q"],
    rows: int,
    rng: np.random.Generator,
    groups: Int64[np.ndarray, " q"] | None = None,
) -> Findings:
    """The means of what `agreement` measured, how often nothing is left, and shortlist depths.

    `depths` are those of the true top ten among `rows` documents. Intervals are of queries, or of
    `groups` of them.
    """
    metrics = {name: bootstrap_mean(v, rng, groups=groups) for name, v in agreed.items()}
    lost = int((agreed[f"overlap@{K}"] == 0).sum())
    metrics["zero_overlap"] = proportion(lost, len(depths))
    for share in SHARES:
        metrics[f"shortlist_{share:.0%}"] = shortlist_depth(depths, share, rows)
    return Findings(metrics)


def shortlist_depth(
    depths: Int64[np.ndarray, " q"], share: float, rows: int, confidence: float = 0.95
) -> Estimate:
    """The depth at which shortlists hold all that is wanted, for `share` of the queries.

    Each bound is one-sided at `confidence`, by order statistics, whatever the distribution; above
    what so few queries can say it is the whole corpus of `rows`.
    """
    n, ordered = len(depths), np.sort(depths)
    # The j-th smallest bounds the quantile from above unless j or more of n lie below it.
    above = int(binom.ppf(confidence, n, share)) + 1
    below = int(binom.ppf(1 - confidence, n, share))
    value = ordered[int(np.ceil(share * n)) - 1]
    high = ordered[above - 1] if above <= n else rows
    return Estimate(float(value), float(ordered[max(below, 1) - 1]), float(high), n)


def resolution(
    full: Encoded, encoded: Encoded, exact: Ranking, rng: np.random.Generator
) -> Findings:
    """ε95: the smallest gap of full scores at which 95 % of pairs keep their order.

    Pairs are of documents at places spread over the full ranking, in up to 500 queries; a pair that
    ties counts half. The share that is kept is fitted by isotonic regression on 64 classes of gaps
    of equal size. Where even the widest gaps are not resolved, it is the widest one. Details, as
    "resolution": gap and share of each class.
    """
    some = np.linspace(0, len(exact.rows) - 1, min(len(exact.rows), _SAMPLED_QUERIES)).astype(int)
    places = _places(exact.rows.shape[1])
    rows = exact.rows[some][:, places]
    true = exact.scores[some][:, places]
    seen = scores_of(Encoded(encoded.queries[some], encoded.documents), rows)
    better, worse = np.triu_indices(len(places), 1)
    gaps = true[:, better].astype(np.float64) - true[:, worse]
    kept = (1 + np.sign(seen[:, better] - seen[:, worse])) / 2
    edges = np.unique(np.quantile(gaps, np.linspace(0, 1, _BINS + 1)[1:-1]))
    sums, counts = _by_class(gaps, kept.astype(np.float64), edges)
    ends = np.append(edges, gaps.max())
    value = _resolved(sums.sum(axis=0), counts.sum(axis=0), ends)
    weights = rng.multinomial(len(some), np.full(len(some), 1 / len(some)), size=_RESAMPLES)
    resampled = [
        _resolved(total, count, ends)
        for total, count in zip(weights @ sums, weights @ counts, strict=True)
    ]
    low, high = np.quantile(resampled, [0.025, 0.975])
    shares = sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
    curve = [{"gap": float(g), "kept": float(s)} for g, s in zip(ends, shares, strict=True)]
    estimate = Estimate(value, float(low), float(high), len(some))
    return Findings({"resolution": estimate}, {"resolution": curve})


def geometry(encoded: Encoded, found: Ranking, rng: np.random.Generator) -> Findings:
    """How many dimensions are in use, and whether few documents answer everything.

    `effective_rank` (Roy & Vetterli 2007) is exp(entropy) of the shares of the second moment's
    eigenvalues, over up to 10,000 documents. `hub_skew` is the skewness over documents of how often
    each is among the first ten. Neither has an interval: both describe these documents.
    """
    documents = encoded.documents
    if len(documents) > _SAMPLED_ROWS:
        documents = documents[np.sort(rng.choice(len(documents), _SAMPLED_ROWS, replace=False))]
    rank = effective_rank(documents)
    times = np.bincount(found.rows[:, :K].ravel(), minlength=len(encoded.documents))
    hubs = float(skew(times)) if times.std() > 0 else 0.0
    return Findings(
        {
            "effective_rank": Estimate(rank, rank, rank, len(documents)),
            "hub_skew": Estimate(hubs, hubs, hubs, len(times)),
        }
    )


def effective_rank(documents: Float32[np.ndarray, "n dim"]) -> float:
    """exp(−Σ p log p), p the eigenvalues of the second moment divided by their sum; 0 for zeros."""
    values = np.linalg.eigvalsh((documents.T @ documents).astype(np.float64)).clip(min=0)
    if values.sum() == 0:
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _places(depth: int) -> Int64[np.ndarray, " places"]:
    spread = np.linspace(0, min(depth, DEPTH) - 1, min(depth, _SAMPLED_PLACES))
    return np.asarray(spread, np.int64)


def _by_class(
    gaps: Float64[np.ndarray, "q pairs"],
    kept: Float64[np.ndarray, "q pairs"],
    edges: Float64[np.ndarray, " edges"],
) -> tuple[Float64[np.ndarray, "q classes"], Float64[np.ndarray, "q classes"]]:
    """Per query and class of gaps: how many pairs are kept, and how many there are."""
    classes = len(edges) + 1
    of = np.searchsorted(edges, gaps) + classes * np.arange(len(gaps))[:, None]
    size = len(gaps) * classes
    sums = np.bincount(of.ravel(), kept.ravel(), size).reshape(-1, classes)
    counts = np.bincount(of.ravel(), minlength=size).reshape(-1, classes)
    return sums, counts.astype(np.float64)


def _resolved(
    sums: Float64[np.ndarray, " classes"],
    counts: Float64[np.ndarray, " classes"],
    gaps: Float64[np.ndarray, " classes"],
) -> float:
    """The upper end of the first class from which on, by isotonic fit, enough pairs are kept."""
    present = counts > 0
    shares = sums[present] / counts[present]
    fitted = isotonic_regression(shares, weights=counts[present]).x
    enough = np.flatnonzero(fitted >= KEPT)
    gap = gaps[present][enough[0]] if len(enough) else gaps[-1]
    return float(gap)
