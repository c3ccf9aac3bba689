"""Fidelity of a variant to the full vectors' ranking, without judgments, and its geometry."""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import binom, skew

from nestvec.auditing.ranking.full_ranking import scores_of
from nestvec.auditing.types import DEPTH, CheckResult, EmbeddingPair, K, Ranking
from nestvec.shapes import Float32, Float64, Int64
from nestvec.statistics import Estimate, bootstrap_mean, proportion

SHARES = (0.95, 0.99)
"""Shares of queries whose shortlist must contain the baseline's whole first 10."""
MIN_IN_ORDER = 0.95
"""A score gap is resolved if this share of the pairs with such a gap keep their order."""

_SAMPLED_QUERIES = 500
_SAMPLED_RANKS = 16
_BINS = 64
_RESAMPLES = 200
_SAMPLED_ROWS = 10_000


def fidelity(
    agreement: Mapping[str, Float64[np.ndarray, " q"]],
    depths: Int64[np.ndarray, " q"] | None,
    n: int,
    rng: np.random.Generator,
    groups: Int64[np.ndarray, " q"] | None = None,
) -> CheckResult:
    """Average the measures of agreement, and estimate zero overlap and shortlist depths.

    `depths` are those at which `n` documents ranked by the variant contain the baseline's first 10
    (None: unknown).
    Intervals are of queries, or of `groups` of them.
    """
    metrics = {
        name: bootstrap_mean(values, rng, groups=groups) for name, values in agreement.items()
    }
    overlaps = agreement[f"overlap@{K}"]
    metrics["zero_overlap"] = proportion(int((overlaps == 0).sum()), len(overlaps))
    if depths is not None:
        for share in SHARES:
            metrics[f"shortlist_{share:.0%}"] = shortlist_depth(depths, share, n)
    return CheckResult(metrics)


def shortlist_depth(
    depths: Int64[np.ndarray, " q"], share: float, n: int, confidence: float = 0.95
) -> Estimate:
    """Estimate the depth at which shortlists contain all targets for `share` of the queries.

    Each bound is one-sided at `confidence`, by order statistics, whatever the distribution. Where
    there are too few queries for an upper bound it is `n`, the whole corpus.
    """
    n_queries, ordered = len(depths), np.sort(depths)
    # The j-th smallest bounds the quantile from above unless j or more of all lie below it.
    upper = int(binom.ppf(confidence, n_queries, share)) + 1
    lower = int(binom.ppf(1 - confidence, n_queries, share))
    value = ordered[int(np.ceil(share * n_queries)) - 1]
    high = ordered[upper - 1] if upper <= n_queries else n
    return Estimate(float(value), float(ordered[max(lower, 1) - 1]), float(high), n_queries)


def resolution(
    full: EmbeddingPair, embeddings: EmbeddingPair, baseline: Ranking, rng: np.random.Generator
) -> CheckResult:
    """ε95: the smallest gap of full scores at which 95 % of pairs keep their order.

    Pairs are of documents at ranks spread over the baseline, in up to 500 queries; a pair that ties
    counts half. The share that keeps its order is fitted by isotonic regression on 64 classes of
    gaps of equal size. Where even the widest gaps are not resolved, it is the widest one. Details,
    as "resolution": `gap` and share `in_order` of each class.
    """
    n_queries = len(baseline.rows)
    sample = np.linspace(0, n_queries - 1, min(n_queries, _SAMPLED_QUERIES)).astype(int)
    ranks = _sampled_ranks(baseline.rows.shape[1])
    rows = baseline.rows[sample][:, ranks]
    full_scores = baseline.scores[sample][:, ranks]
    pair = EmbeddingPair(embeddings.queries[sample], embeddings.documents)
    variant_scores = scores_of(pair, rows)
    better, worse = np.triu_indices(len(ranks), 1)
    gaps = full_scores[:, better].astype(np.float64) - full_scores[:, worse]
    in_order = (1 + np.sign(variant_scores[:, better] - variant_scores[:, worse])) / 2
    edges = np.unique(np.quantile(gaps, np.linspace(0, 1, _BINS + 1)[1:-1]))
    sums, counts = _by_class(gaps, in_order.astype(np.float64), edges)
    ends = np.append(edges, gaps.max())
    value = _resolved(sums.sum(axis=0), counts.sum(axis=0), ends)
    weights = rng.multinomial(len(sample), np.full(len(sample), 1 / len(sample)), size=_RESAMPLES)
    resampled = [
        _resolved(total, count, ends)
        for total, count in zip(weights @ sums, weights @ counts, strict=True)
    ]
    low, high = np.quantile(resampled, [0.025, 0.975])
    shares = sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
    curve = [{"gap": float(g), "in_order": float(s)} for g, s in zip(ends, shares, strict=True)]
    estimate = Estimate(value, float(low), float(high), len(sample))
    return CheckResult({"resolution": estimate}, {"resolution": curve})


def geometry(embeddings: EmbeddingPair, ranking: Ranking, rng: np.random.Generator) -> CheckResult:
    """Measure the effective rank of the documents, and hubness: how unevenly they are retrieved.

    `effective_rank` (Roy & Vetterli 2007) is exp(entropy) of the shares of the second moment's
    eigenvalues, over up to 10,000 documents. `hub_skew` is the skewness over documents of how often
    each is among the first 10. Neither has an interval: both describe these documents.
    """
    documents = embeddings.documents
    if len(documents) > _SAMPLED_ROWS:
        documents = documents[np.sort(rng.choice(len(documents), _SAMPLED_ROWS, replace=False))]
    rank = effective_rank(documents)
    times = np.bincount(ranking.rows[:, :K].ravel(), minlength=len(embeddings.documents))
    hubs = float(skew(times)) if times.std() > 0 else 0.0
    return CheckResult(
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


def _sampled_ranks(depth: int) -> Int64[np.ndarray, " ranks"]:
    spread = np.linspace(0, min(depth, DEPTH) - 1, min(depth, _SAMPLED_RANKS))
    return np.asarray(spread, np.int64)


def _by_class(
    gaps: Float64[np.ndarray, "q pairs"],
    in_order: Float64[np.ndarray, "q pairs"],
    edges: Float64[np.ndarray, " edges"],
) -> tuple[Float64[np.ndarray, "q classes"], Float64[np.ndarray, "q classes"]]:
    """Per query and class of gaps: the number of pairs in order, and of all pairs."""
    classes = len(edges) + 1
    class_ids = np.searchsorted(edges, gaps) + classes * np.arange(len(gaps))[:, None]
    size = len(gaps) * classes
    sums = np.bincount(class_ids.ravel(), in_order.ravel(), size).reshape(-1, classes)
    counts = np.bincount(class_ids.ravel(), minlength=size).reshape(-1, classes)
    return sums, counts.astype(np.float64)


def _resolved(
    sums: Float64[np.ndarray, " classes"],
    counts: Float64[np.ndarray, " classes"],
    gaps: Float64[np.ndarray, " classes"],
) -> float:
    """Find the upper end of the first class in which, by isotonic fit, enough pairs keep order."""
    present = counts > 0
    shares = sums[present] / counts[present]
    fitted = isotonic_regression(shares, weights=counts[present]).x
    resolved = np.flatnonzero(fitted >= MIN_IN_ORDER)
    gap = gaps[present][resolved[0]] if len(resolved) else gaps[-1]
    return float(gap)
