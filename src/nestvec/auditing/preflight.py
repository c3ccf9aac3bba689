"""Checks before any statistics: most losses that are blamed on compression are bugs."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from nestvec.auditing.compression.compressor import off_unit
from nestvec.auditing.ranking.full_ranking import rank
from nestvec.auditing.types import FULL_BITS, UNIT_TOLERANCE, Check, Encoded, K, Ranking, Variant
from nestvec.metrics import overlap
from nestvec.shapes import Float32, Float64, Int64
from nestvec.statistics import bootstrap_mean
from nestvec.vectors import normalize

TIES_WARNED = 0.05
DUPLICATES_WARNED = 0.01
LEAKS_FAILED = 0.01
FLAGGED_BELOW = 0.9
_SAMPLED_QUERIES = 200
_SAMPLED_ROWS = 20_000
_SAMPLED_DIMS = 16
_RANDOM_DIMS = 64
_OFF_LEVEL = 0.05
"""In steps: decoded codes are this near to their level, whatever float32 rounds."""

Status = Literal["ok", "warning", "fail", "skipped"]


# --- of what was given ---------------------------------------------------------------------------


def check_vectors_given(full: Encoded, own: Int64[np.ndarray, " q"]) -> list[Check]:
    """P1 and P2: lengths, and dimensions that say nothing. (NaN was refused before.)"""
    worst = max(off_unit(full.queries), off_unit(full.documents))
    unit = worst <= UNIT_TOLERANCE
    said = "unit vectors; prefixes are renormalised" if unit else (
        f"lengths differ from 1 by up to {worst:.3g}, so prefixes are not renormalised and scores "
        f"are plain inner products, by which {_disagreement(full, own):.1%} of the first {K} are "
        "others than by cosine; normalise the vectors if cosine is meant"
    )  # fmt: skip
    constant = int((np.ptp(full.documents, axis=0) == 0).sum())
    return [
        Check("unit length", "ok" if unit else "warning", said, worst),
        Check(
            "constant dimensions", "warning" if constant else "ok",
            f"{constant} dimensions are the same in every document", float(constant),
        ),
    ]  # fmt: skip


def check_rows(
    documents: Float32[np.ndarray, "n dim"],
    own: Int64[np.ndarray, " q"],
    relevant_to_itself: int,
) -> list[Check]:
    """P2: duplicates among the documents, and queries that are documents themselves.

    `own` is the row that each query is of (−1: none); these are no answers. `relevant_to_itself`
    counts the queries whose own row is judged to answer them, which any vectors would find.
    """
    copies = 1 - len(set(fingerprints(documents).tolist())) / len(documents)
    drawn = float((own >= 0).mean())
    leaked = relevant_to_itself / len(own)
    return [
        Check(
            "duplicates", "warning" if copies > DUPLICATES_WARNED else "ok",
            f"{copies:.1%} of the documents are copies of others", copies,
        ),
        Check(
            "queries among documents", "warning" if drawn else "ok",
            f"{drawn:.1%} of the queries are documents; they are left out of their own answers",
            drawn,
        ),
        Check(
            "leaked answers", _graded(leaked, LEAKS_FAILED),
            f"{leaked:.1%} of the queries are judged to answer themselves, which every variant "
            "finds; remove these judgements" if leaked else "no query is judged to answer itself",
            leaked,
        ),
    ]  # fmt: skip


def fingerprints(vectors: Float32[np.ndarray, "n dim"]) -> Int64[np.ndarray, " n"]:
    """A hash of each row's bytes, the same within this process alone."""
    return np.fromiter((hash(row.tobytes()) for row in vectors), np.int64, len(vectors))


# --- of a variant --------------------------------------------------------------------------------


def check_variant(variant: Variant, full: Encoded, encoded: Encoded, unit: bool) -> list[Check]:
    """P1, P3 and P4: what a variant made of vectors is what its name says."""
    checks = [_check_width(variant, encoded), _check_change(variant, full, encoded)]
    if variant.bits == FULL_BITS:
        return [*checks, _check_lengths(encoded)] if unit else checks
    return [*checks, _check_levels(variant, encoded)]


def check_answers(found: Ranking) -> list[Check]:
    """P4 and P5: every query has its answers, and ties do not choose among them."""
    missing = int((found.rows[:, :K] < 0).any(axis=1).sum())
    tied = 0.0
    if found.rows.shape[1] > K:
        tied = float((found.scores[:, K - 1] == found.scores[:, K]).mean())
    return [
        Check(
            "complete", "fail" if missing else "ok",
            f"{missing} queries have fewer than {K} answers", float(missing),
        ),
        Check(
            "ties", "warning" if tied > TIES_WARNED else "ok",
            f"{tied:.1%} of the queries tie across place {K}; equal scores go to the smaller row",
            tied,
        ),
    ]  # fmt: skip


def _check_width(variant: Variant, encoded: Encoded) -> Check:
    width = encoded.documents.shape[1]
    said = f"{width} dimensions"
    if width != variant.dims:
        said += f", though the variant has {variant.dims}; give one float per dimension, unpacked"
    return Check("width", "ok" if width == variant.dims else "fail", said, float(width))


def _check_change(variant: Variant, full: Encoded, encoded: Encoded) -> Check:
    width = full.documents.shape[1]
    is_full = (variant.dims, variant.bits) == (width, FULL_BITS)
    same = np.array_equal(full.documents, encoded.documents) and np.array_equal(
        full.queries, encoded.queries
    )
    said = "differs from the full vectors"
    if same:
        said = "these are the full vectors" + ("" if is_full else "; nothing was made smaller")
    return Check("change", "fail" if same and not is_full else "ok", said)


def _check_lengths(encoded: Encoded) -> Check:
    worst = max(off_unit(encoded.queries), off_unit(encoded.documents))
    if worst <= UNIT_TOLERANCE:
        return Check("renormalised", "ok", "prefixes have unit length", worst)
    said = (
        f"lengths differ from 1 by up to {worst:.3g} though the full vectors are unit vectors; "
        "renormalise after slicing"
    )
    return Check("renormalised", "fail", said, worst)


def _check_levels(variant: Variant, encoded: Encoded) -> Check:
    """Whether queries lie on the levels that documents have: one calibration for both sides."""
    name = "same calibration"
    if variant.side != "both":
        return Check(name, "skipped", f"only {variant.side} are coded")
    off, seen = 0.0, 0
    columns = np.linspace(0, encoded.documents.shape[1] - 1, _SAMPLED_DIMS).astype(int)
    for column in np.unique(columns):
        levels = np.unique(encoded.documents[:_SAMPLED_ROWS, column])
        if len(levels) > 2**variant.bits:
            said = f"dimension {column} has {len(levels)} values, too many for {variant.bits} bits"
            return Check(name, "fail", said, float(len(levels)))
        # With over half of the levels present two of them are neighbours: their gap is the step.
        if len(levels) > 2 ** (variant.bits - 1):
            off = max(off, _off_level(encoded.queries[:, column], levels))
            seen += 1
    if not seen:
        return Check(name, "skipped", "too few documents to tell the levels of their codes")
    if off <= _OFF_LEVEL:
        return Check(name, "ok", "queries lie on the levels of the documents", off)
    said = (
        f"queries lie up to {off:.2f} steps off the levels of the documents; calibrate both alike"
    )
    return Check(name, "fail", said, off)


def _off_level(values: Float32[np.ndarray, " q"], levels: Float32[np.ndarray, " l"]) -> float:
    ordered = levels.astype(np.float64)
    places = (values - ordered[0]) / np.diff(ordered).min()
    return float(np.abs(places - np.rint(places)).max())


def check_cosine(variant: Variant, full: Encoded, own: Int64[np.ndarray, " q"]) -> list[Check]:
    """P1: what would be answered if prefixes of unit vectors were not renormalised.

    Cosine and inner product agree on unit vectors, and only there. Of other variants than plain
    prefixes nothing is asked.
    """
    if variant != Variant(variant.dims, rescore=variant.rescore) or (
        variant.dims == full.documents.shape[1]
    ):
        return []
    share = _disagreement(_prefix(full, variant.dims), own)
    said = f"{share:.1%} of the first {K} would be others without renormalisation"
    return [Check("cosine or dot", "ok", said, share)]


def _prefix(full: Encoded, dims: int) -> Encoded:
    return Encoded(full.queries[:, :dims], full.documents[:, :dims])


def _disagreement(encoded: Encoded, own: Int64[np.ndarray, " q"]) -> float:
    """The share of the first ten by inner product that are not among those by cosine."""
    some = np.linspace(0, len(own) - 1, min(len(own), _SAMPLED_QUERIES)).astype(int)
    mine = own[some]
    by_dot = rank(Encoded(encoded.queries[some], encoded.documents), K, mine).ranking
    unit = Encoded(normalize(encoded.queries[some]), normalize(encoded.documents))
    return 1 - float(overlap(by_dot.rows, rank(unit, K, mine).ranking.rows, K).mean())


# --- of the audit itself -------------------------------------------------------------------------


def self_checks(
    full: Encoded, own: Int64[np.ndarray, " q"], rng: np.random.Generator
) -> list[Check]:
    """P6 to P8, on up to 200 queries: the audit repeats itself, and sees what it must see.

    Ranking twice gives the same; full against full keeps everything; random vectors keep what
    chance keeps; and vectors whose dimensions are shuffled on one side keep clearly less than most.
    """
    some = np.sort(rng.permutation(len(full.queries))[:_SAMPLED_QUERIES])
    part, mine = Encoded(full.queries[some], full.documents), own[some]
    first, again = (rank(part, K, mine).ranking for _ in range(2))
    shuffled = Encoded(np.roll(part.queries, part.queries.shape[1] // 2, axis=1), full.documents)
    noise = Encoded(
        rng.standard_normal((len(some), _RANDOM_DIMS), np.float32),
        rng.standard_normal((len(full.documents), _RANDOM_DIMS), np.float32),
    )
    return [
        _check_same(first, again),
        _check_retained(overlap(first.rows, again.rows, K)),
        _check_chance(overlap(first.rows, rank(noise, K, mine).ranking.rows, K), full),
        _check_flagged(overlap(first.rows, rank(shuffled, K, mine).ranking.rows, K), rng),
    ]


def _check_same(first: Ranking, again: Ranking) -> Check:
    same = np.array_equal(first.rows, again.rows)
    said = "two runs rank alike" if same else "two runs rank differently; do not trust the figures"
    return Check("determinism", "ok" if same else "fail", said)


def _check_retained(kept: Float64[np.ndarray, " q"]) -> Check:
    mean = float(kept.mean())
    said = f"full against full keeps {mean:.3f} of the answers"
    return Check("full against full", "ok" if mean == 1 else "fail", said, mean)


def _check_chance(kept: Float64[np.ndarray, " q"], full: Encoded) -> Check:
    chance, mean = K / len(full.documents), float(kept.mean())
    # Hits by chance are hypergeometric; five Poisson deviations are beyond them.
    most = chance + 5 * (chance / (K * len(kept))) ** 0.5
    said = f"random vectors keep {mean:.4f} of the answers; by chance it is {chance:.4f}"
    return Check("random vectors", "ok" if mean <= most else "fail", said, mean)


def _check_flagged(kept: Float64[np.ndarray, " q"], rng: np.random.Generator) -> Check:
    if len(kept) < 2:
        return Check("shuffled dimensions", "skipped", "it takes two queries")
    mean, high = float(kept.mean()), bootstrap_mean(kept, rng).high
    flagged = high < FLAGGED_BELOW
    said = f"shuffled dimensions keep {mean:.3f} of the answers and are " + (
        "flagged" if flagged else "not flagged: these queries cannot tell good from bad"
    )
    return Check("shuffled dimensions", "ok" if flagged else "fail", said, mean)


def has_failed(checks: Sequence[Check]) -> bool:
    """Whether any check did."""
    return any(check.status == "fail" for check in checks)


def _graded(share: float, limit: float) -> Status:
    if share == 0:
        return "ok"
    return "fail" if share > limit else "warning"
