"""Preflight: checks before any statistics, because most losses blamed on compression are bugs."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from nestvec.auditing.compression.variant_encoder import unit_deviation
from nestvec.auditing.ranking.full_ranking import rank_all
from nestvec.auditing.types import (
    FULL_BITS,
    UNIT_TOLERANCE,
    EmbeddingPair,
    K,
    PreflightCheck,
    Ranking,
    Variant,
)
from nestvec.metrics import overlap
from nestvec.self_match import vector_keys
from nestvec.shapes import Float32, Float64, Int64
from nestvec.statistics import bootstrap_mean
from nestvec.vectors import normalize

TIES_WARNING = 0.05
"""Share of queries with a tie at place 10 above which row order shows in the figures."""
DUPLICATES_WARNING = 0.01
"""Share of duplicate documents above which they crowd rankings."""
LEAKS_FAILURE = 0.01
"""Share of queries judged to answer themselves above which relevance is not about retrieval."""
MUST_FLAG_BELOW = 0.9
"""Overlap under which shuffled dimensions must come out: else these queries detect nothing."""
_SAMPLED_QUERIES = 200
_SAMPLED_ROWS = 20_000
_SAMPLED_DIMS = 16
_RANDOM_DIMS = 64
_LEVEL_TOLERANCE = 0.05
"""In steps: decoded codes are this near to their level, whatever float32 rounds."""

Status = Literal["ok", "warning", "fail", "skipped"]


# --- inputs --------------------------------------------------------------------------------------


def check_input_vectors(
    full: EmbeddingPair, self_match: Int64[np.ndarray, " q"]
) -> list[PreflightCheck]:
    """P1 and P2: lengths, and dimensions without information. (NaN has been refused before.)"""
    deviation = max(unit_deviation(full.queries), unit_deviation(full.documents))
    is_unit = deviation <= UNIT_TOLERANCE
    message = "unit vectors; prefixes are renormalised" if is_unit else (
        f"lengths differ from 1 by up to {deviation:.3g}, so prefixes are not renormalised and "
        f"scores are plain inner products, by which {_disagreement(full, self_match):.1%} of the "
        f"first {K} are others than by cosine; normalise the vectors if cosine is meant"
    )  # fmt: skip
    constant = int((np.ptp(full.documents, axis=0) == 0).sum())
    return [
        PreflightCheck("unit length", "ok" if is_unit else "warning", message, deviation),
        PreflightCheck(
            "constant dimensions", "warning" if constant else "ok",
            f"{constant} dimensions are the same in every document", float(constant),
        ),
    ]  # fmt: skip


def check_duplicates(
    documents: Float32[np.ndarray, "n dim"], self_match: Int64[np.ndarray, " q"], n_leaks: int
) -> list[PreflightCheck]:
    """Run P2: count duplicates among the documents, and queries that are documents themselves.

    `self_match` is the row that each query was drawn from (−1: none). `n_leaks` counts the queries
    whose self-match is judged relevant to them, which any vectors would find.
    """
    copies = 1 - len(np.unique(vector_keys(documents))) / len(documents)
    share_drawn = float((self_match >= 0).mean())
    leaked = n_leaks / len(self_match)
    return [
        PreflightCheck(
            "duplicates", "warning" if copies > DUPLICATES_WARNING else "ok",
            f"{copies:.1%} of the documents are copies of others", copies,
        ),
        PreflightCheck(
            "queries among documents", "warning" if share_drawn else "ok",
            f"{share_drawn:.1%} of the queries are documents; they are left out of their own "
            "answers",
            share_drawn,
        ),
        PreflightCheck(
            "leaked answers", _graded(leaked, LEAKS_FAILURE),
            f"{leaked:.1%} of the queries are judged to answer themselves, which every variant "
            "finds; remove these judgments" if leaked else "no query is judged to answer itself",
            leaked,
        ),
    ]  # fmt: skip


# --- a variant -----------------------------------------------------------------------------------


def check_variant(
    variant: Variant, full: EmbeddingPair, embeddings: EmbeddingPair, unit: bool
) -> list[PreflightCheck]:
    """Run P1, P3 and P4: check that the embeddings have the width and codes of the variant."""
    checks = [_check_width(variant, embeddings), _check_change(variant, full, embeddings)]
    if variant.bits == FULL_BITS:
        return [*checks, _check_lengths(embeddings)] if unit else checks
    return [*checks, _check_levels(variant, embeddings)]


def check_ranking(ranking: Ranking) -> list[PreflightCheck]:
    """Run P4 and P5: check that every query has its answers, and that ties decide few of them."""
    missing = int((ranking.rows[:, :K] < 0).any(axis=1).sum())
    tied = 0.0
    if ranking.rows.shape[1] > K:
        tied = float((ranking.scores[:, K - 1] == ranking.scores[:, K]).mean())
    return [
        PreflightCheck(
            "complete", "fail" if missing else "ok",
            f"{missing} queries have fewer than {K} answers", float(missing),
        ),
        PreflightCheck(
            "ties", "warning" if tied > TIES_WARNING else "ok",
            f"{tied:.1%} of the queries tie across place {K}; equal scores go to the smaller row",
            tied,
        ),
    ]  # fmt: skip


def _check_width(variant: Variant, embeddings: EmbeddingPair) -> PreflightCheck:
    width = embeddings.documents.shape[1]
    message = f"{width} dimensions"
    if width != variant.dims:
        message += (
            f", though the variant has {variant.dims}; pass one float per dimension, unpacked"
        )
    return PreflightCheck("width", "ok" if width == variant.dims else "fail", message, float(width))


def _check_change(
    variant: Variant, full: EmbeddingPair, embeddings: EmbeddingPair
) -> PreflightCheck:
    width = full.documents.shape[1]
    is_full = (variant.dims, variant.bits) == (width, FULL_BITS)
    is_unchanged = np.array_equal(full.documents, embeddings.documents) and np.array_equal(
        full.queries, embeddings.queries
    )
    message = "differs from the full vectors"
    if is_unchanged:
        message = "these are the full vectors" + ("" if is_full else "; nothing is compressed")
    return PreflightCheck("change", "fail" if is_unchanged and not is_full else "ok", message)


def _check_lengths(embeddings: EmbeddingPair) -> PreflightCheck:
    deviation = max(unit_deviation(embeddings.queries), unit_deviation(embeddings.documents))
    if deviation <= UNIT_TOLERANCE:
        return PreflightCheck("renormalised", "ok", "prefixes have unit length", deviation)
    message = (
        f"lengths differ from 1 by up to {deviation:.3g} though the full vectors are unit vectors; "
        "renormalise after truncation"
    )
    return PreflightCheck("renormalised", "fail", message, deviation)


def _check_levels(variant: Variant, embeddings: EmbeddingPair) -> PreflightCheck:
    """Check that queries lie on the levels that documents have: one calibration for both sides."""
    name = "same calibration"
    if variant.side != "both":
        return PreflightCheck(name, "skipped", f"only {variant.side} are coded")
    deviation, n_compared = 0.0, 0
    columns = np.linspace(0, embeddings.documents.shape[1] - 1, _SAMPLED_DIMS).astype(int)
    for column in np.unique(columns):
        levels = np.unique(embeddings.documents[:_SAMPLED_ROWS, column])
        if len(levels) > 2**variant.bits:
            message = (
                f"dimension {column} has {len(levels)} values, too many for {variant.bits} bits"
            )
            return PreflightCheck(name, "fail", message, float(len(levels)))
        # With over half of the levels present two of them are neighbours: their gap is the step.
        if len(levels) > 2 ** (variant.bits - 1):
            deviation = max(deviation, _level_deviation(embeddings.queries[:, column], levels))
            n_compared += 1
    if not n_compared:
        return PreflightCheck(
            name, "skipped", "too few documents to tell the levels of their codes"
        )
    if deviation <= _LEVEL_TOLERANCE:
        return PreflightCheck(name, "ok", "queries lie on the levels of the documents", deviation)
    message = (
        f"queries lie up to {deviation:.2f} steps off the levels of the documents; "
        "calibrate both alike"
    )
    return PreflightCheck(name, "fail", message, deviation)


def _level_deviation(values: Float32[np.ndarray, " q"], levels: Float32[np.ndarray, " l"]) -> float:
    """Largest distance of a value from the grid of the levels, in steps."""
    ordered = levels.astype(np.float64)
    places = (values - ordered[0]) / np.diff(ordered).min()
    return float(np.abs(places - np.rint(places)).max())


def check_cosine(
    variant: Variant, full: EmbeddingPair, self_match: Int64[np.ndarray, " q"]
) -> list[PreflightCheck]:
    """P1: how rankings would differ if prefixes of unit vectors were not renormalised.

    Cosine and inner product agree on unit vectors, and only there. Plain prefixes alone are
    checked.
    """
    if variant != Variant(variant.dims, rerank=variant.rerank) or (
        variant.dims == full.documents.shape[1]
    ):
        return []
    share = _disagreement(_prefix(full, variant.dims), self_match)
    message = f"{share:.1%} of the first {K} would be others without renormalisation"
    return [PreflightCheck("cosine or dot", "ok", message, share)]


def _prefix(full: EmbeddingPair, dims: int) -> EmbeddingPair:
    return EmbeddingPair(full.queries[:, :dims], full.documents[:, :dims])


def _disagreement(embeddings: EmbeddingPair, self_match: Int64[np.ndarray, " q"]) -> float:
    """The share of the first 10 by inner product that are not among those by cosine."""
    n_sampled = min(len(self_match), _SAMPLED_QUERIES)
    sample = np.linspace(0, len(self_match) - 1, n_sampled).astype(int)
    queries, documents = embeddings.queries[sample], embeddings.documents
    unit = EmbeddingPair(normalize(queries), normalize(documents))
    by_dot, by_cosine = (
        rank_all(pair, K, self_match[sample]).ranking.rows
        for pair in (EmbeddingPair(queries, documents), unit)
    )
    return 1 - float(overlap(by_dot, by_cosine, K).mean())


# --- the audit itself ----------------------------------------------------------------------------


def self_tests(
    full: EmbeddingPair, self_match: Int64[np.ndarray, " q"], rng: np.random.Generator
) -> list[PreflightCheck]:
    """Run P6 to P8 on up to 200 queries: check that the audit is repeatable and detects faults.

    Two rankings of the same vectors are equal and overlap in full; random vectors overlap as little
    as random rankings; and vectors whose dimensions are shuffled on one side overlap clearly less
    than most.
    """
    sample = np.sort(rng.permutation(len(full.queries))[:_SAMPLED_QUERIES])
    queries, sampled_matches = full.queries[sample], self_match[sample]

    def rank(pair: EmbeddingPair) -> Ranking:
        return rank_all(pair, K, sampled_matches).ranking

    baseline, repeated = (rank(EmbeddingPair(queries, full.documents)) for _ in range(2))
    shuffled = EmbeddingPair(np.roll(queries, queries.shape[1] // 2, axis=1), full.documents)
    noise = EmbeddingPair(
        rng.standard_normal((len(sample), _RANDOM_DIMS), np.float32),
        rng.standard_normal((len(full.documents), _RANDOM_DIMS), np.float32),
    )
    return [
        _check_repeatable(baseline, repeated),
        _check_full_overlap(overlap(baseline.rows, repeated.rows, K)),
        _check_random_overlap(overlap(baseline.rows, rank(noise).rows, K), full),
        _check_flagged(overlap(baseline.rows, rank(shuffled).rows, K), rng),
    ]


def _check_repeatable(a: Ranking, b: Ranking) -> PreflightCheck:
    is_equal = np.array_equal(a.rows, b.rows)
    message = (
        "two runs rank alike" if is_equal else "two runs rank differently; do not trust the figures"
    )
    return PreflightCheck("determinism", "ok" if is_equal else "fail", message)


def _check_full_overlap(overlaps: Float64[np.ndarray, " q"]) -> PreflightCheck:
    mean = float(overlaps.mean())
    message = f"full against full keeps {mean:.3f} of the answers"
    return PreflightCheck("full against full", "ok" if mean == 1 else "fail", message, mean)


def _check_random_overlap(
    overlaps: Float64[np.ndarray, " q"], full: EmbeddingPair
) -> PreflightCheck:
    expected, mean = K / len(full.documents), float(overlaps.mean())
    # The overlap of random rankings is hypergeometric; five Poisson deviations are beyond it.
    highest = expected + 5 * (expected / (K * len(overlaps))) ** 0.5
    message = f"random vectors keep {mean:.4f} of the answers; by chance it is {expected:.4f}"
    return PreflightCheck("random vectors", "ok" if mean <= highest else "fail", message, mean)


def _check_flagged(overlaps: Float64[np.ndarray, " q"], rng: np.random.Generator) -> PreflightCheck:
    if len(overlaps) < 2:
        return PreflightCheck("shuffled dimensions", "skipped", "it takes two queries")
    mean, high = float(overlaps.mean()), bootstrap_mean(overlaps, rng).high
    is_flagged = high < MUST_FLAG_BELOW
    message = f"shuffled dimensions keep {mean:.3f} of the answers and are " + (
        "flagged" if is_flagged else "not flagged: these queries cannot tell good from bad"
    )
    return PreflightCheck("shuffled dimensions", "ok" if is_flagged else "fail", message, mean)


def has_failed(checks: Sequence[PreflightCheck]) -> bool:
    """Tell whether any check has failed."""
    return any(check.status == "fail" for check in checks)


def _graded(share: float, failure: float) -> Status:
    if share == 0:
        return "ok"
    return "fail" if share > failure else "warning"
