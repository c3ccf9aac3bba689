"""No bound of `kernels.exact` is below what it bounds, and each of its allowances is needed.

A bound is compared with the true value in exact arithmetic, on rows that strain one allowance.
The kernels run here as plain Python, so that a test can take the allowance away and see the bound
fail.
"""

from collections.abc import Callable
from fractions import Fraction
from inspect import unwrap
from math import isqrt
from operator import mul
from types import FunctionType, SimpleNamespace
from typing import NamedTuple

import numba as nb
import numpy as np
import pytest

from nestvec.kernels import dense, exact, layout, reference, simd, structs
from nestvec.kernels import tables as look_ups
from nestvec.kernels.backend import SearchOptions, SegmentArrays, SegmentBounds, TopK
from nestvec.kernels.layout import COSINE, EUCLIDEAN, GROUP, IP, LANES, PARTS

TRIES = 120
ALL = np.empty(0, np.uint8)


# --- the kernels in Python -----------------------------------------------------------------------


@nb.njit
def wide_table_sums(head, block, tables, slots, sums, count):
    look_ups.wide_table_sums(head, block, tables, slots, sums, count)


@nb.njit
def bound_lanes(sums, scale, errors, block, terms, weights, out):
    simd.bound_lanes(sums, scale, errors, block, terms, weights, out)


@nb.njit
def byte_products(codes, start, query, sums, count):
    dense.byte_products(codes, start, query, sums, count)


@nb.njit
def selected_integer_sum(words, row, slots, values, count):
    return simd.selected_integer_sum(words, row, slots, values, count)


@nb.njit
def not_below(values, first, threshold):
    return simd.not_below(values, first, threshold)


ordered = simd.make_comparison(ordered=True)


@nb.njit
def at_least(values, first, threshold):
    return ordered(values, first, threshold)


INSTRUCTIONS = {
    "wide_table_sums": wide_table_sums,
    "bound_lanes": bound_lanes,
    "byte_products": byte_products,
    "selected_integer_sum": selected_integer_sum,
    "not_below": not_below,
    "lowest_bit": lambda bits: (int(bits) & -int(bits)).bit_length() - 1,
    "prefetch": lambda *_: None,
}


def in_python(**changed):
    """Collect the functions of `kernels.exact`, not compiled, with some names replaced."""
    names = {**vars(exact), **INSTRUCTIONS}
    for name, value in vars(exact).items():
        plain = unwrap(getattr(value, "py_func", value))
        if isinstance(plain, FunctionType) and plain.__module__ == exact.__name__:
            names[name] = FunctionType(plain.__code__, names, name)
    names.update(changed)
    return SimpleNamespace(**names)


# --- one row, its bound and the truth ------------------------------------------------------------


class Row(NamedTuple):
    """A row in one cell: centroid + scale · decoded words + remainder, without a rotation."""

    query: np.ndarray
    centroid: np.ndarray
    step: np.float32
    words: np.ndarray
    coefficients: np.ndarray
    scale: np.float32 = np.float32(0)
    remainder: np.ndarray | None = None
    metric: int = IP

    def vector(self):
        """Compute the row itself, exactly."""
        dim = len(self.query)
        row = [Fraction(0)] * dim
        for i, integer in enumerate(self.centroid.tolist()):
            row[i] += integer * Fraction(float(self.step))
        halves = np.unpackbits(self.words.view(np.uint8), bitorder="little").reshape(-1, GROUP)
        decoded = ((halves - 0.5) * self.coefficients[:, None].astype(float)).sum(axis=0)
        for i, value in enumerate(decoded.astype(np.float32).tolist()[:dim]):
            row[i] += Fraction(float(self.scale)) * Fraction(value)
        if self.remainder is not None:
            row = [x + Fraction(y) for x, y in zip(row, self.remainder.tolist(), strict=True)]
        return row

    def truth(self):
        """Compute ⟨q, y⟩, and under the Euclidean metric subtract |y|²/2."""
        row = self.vector()
        inner = sum(Fraction(q) * x for q, x in zip(self.query.tolist(), row, strict=True))
        return inner + Fraction(self.half_square())

    def half_square(self):
        """Compute −|y|²/2 under the Euclidean metric, whose bias it is."""
        if self.metric != EUCLIDEAN:
            return Fraction(0)
        return -sum(x * x for x in self.vector()) / 2

    def longest(self):
        """Compute a bound on |y|; without a rotation and a bias nothing needs one."""
        if self.metric != EUCLIDEAN:
            return 0.0
        return float(-2 * self.half_square()) ** 0.5 * (1 + 1e-9)


def single_row_segment(row, rounding):
    """Make a segment of this row alone, and its bounds."""
    dim, count = len(row.query), len(row.words)
    scale, bias = np.full(LANES, np.nan, np.float32), np.zeros(LANES, np.float32)
    scale[0], bias[0] = row.scale, np.float32(float(row.half_square()))
    head = np.zeros((1, 8 * count, LANES), np.uint8)
    head[0, :, 0] = row.words.view(np.uint8)
    head_errors = np.zeros((1, PARTS, LANES), np.uint16)
    errors = np.zeros((1, PARTS))
    parts = layout.part_bounds(dim)
    if row.remainder is not None:
        errors = reference.part_norms(row.remainder[None, :], parts)
        head_errors[0, :, 0] = rounding.head(errors)[0]
    zero = np.zeros(1, np.int64)
    records = layout.pack_records(
        row.words[None, :], scale[:1], bias[:1], zero, zero, rounding.words(errors)
    )
    zeros, steps = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    steps[0] = row.step
    cells = layout.Cells(
        rotation=np.eye(dim, dtype=np.float32), sigma=np.ones(dim, np.float32),
        centroids=layout.centroid_bytes(row.centroid[None, :]), steps=steps, priors=zeros,
        spreads=zeros, starts=np.array([0, 1]), overflow_starts=np.array([1, 1]),
        counts=np.array([1]), spill_counts=zero, row_offsets=np.array([0, 1]),
        spill_row_offsets=np.array([0, 0]), spill_record_ids=np.empty(0, np.int32), scale=scale,
        bias=bias, head=head, head_errors=head_errors, records=records,
        record_floats=records.view(np.float32), record_ints=records.view(np.int32),
    )  # fmt: skip
    vectors = normal(np.random.default_rng(0), dim)[None, :]
    for array in (*cells, vectors):
        array.flags.writeable = False  # as those of memory maps are
    slots = np.tile(np.arange(count), 2)
    funnel = layout.Funnel(
        dims=np.array([dim, dim]), keep=np.array([1, 1]), starts=np.array([0, count, 2 * count]),
        word_slots=slots, head_word_slots=slots, groups=np.zeros(2 * count, np.int64),
        coefficients=np.tile(row.coefficients, 2),
    )  # fmt: skip
    bounds = SegmentBounds(funnel, parts, row.longest(), 0.0)
    return SegmentArrays(cells, vectors), bounds


class Rounding(NamedTuple):
    """Functions that round errors for head errors and for records."""

    head: Callable
    words: Callable


UP = Rounding(reference.bfloat16_up, reference.float32_up)
DOWN_IN_HEADS = UP._replace(head=lambda errors: reference.bfloat16_up(errors * (1 - 2.0**-8)))
DOWN_IN_RECORDS = UP._replace(words=lambda errors: np.nextafter(UP.words(errors), np.float32(0)))


def least_above(value):
    """Return the smallest float32 that is not below a fraction."""
    narrow = np.float32(float(value))
    return narrow if Fraction(float(narrow)) >= value else np.nextafter(narrow, np.float32(np.inf))


def passes(row, kernels, cutoff, rounding=UP):
    """Check whether the row passes the cutoff by its head, and by all words."""
    segment, bounds = single_row_segment(row, rounding)
    out, options = TopK.empty(1, 1, 4), SearchOptions(row.metric, 1, ALL)
    kernels.score_cutoff.__globals__["score_cutoff"] = lambda *_: cutoff
    with np.errstate(all="ignore"):
        kernels.exact_batch(
            row.query[None, :], np.array([-np.inf]), segment, bounds, options, 1, out
        )
    return out.counts[0, 1] == 1, out.counts[0, 2] == 1


def falls_short(row, rounding=UP, **changed):
    """Check whether a bound on the row is below the truth, which it must reach, rounded up."""
    return not all(passes(row, in_python(**changed), least_above(row.truth()), rounding))


# --- rows that strain one allowance each ---------------------------------------------------------


def any_words(rng, count):
    return rng.integers(0, 2**64, count, dtype=np.uint64)


def no_words():
    return np.zeros(1, np.uint64), np.ones(1, np.float32)


def normal(rng, dim):
    return rng.standard_normal(dim).astype(np.float32)


NO_CENTROID = np.zeros(4, np.int8), np.float32(0)


def at_its_centroid(rng):
    """The query is not an integer number of steps."""
    dim = int(rng.integers(1, 9))
    centroid = (127 * rng.choice([-1, 1], dim)).astype(np.int8)
    return Row(normal(rng, dim), centroid, np.float32(rng.uniform(0.5, 1)), *no_words())


def between_table_steps(rng):
    """Four large values set the step, sixty small ones are rounded to it."""
    query = normal(rng, GROUP) * np.float32(0.01)
    query[:4] *= 100
    return Row(query, *NO_CENTROID, any_words(rng, 1), np.ones(1, np.float32), np.float32(1))


def between_integer_values(rng):
    """One large value sets the step, equal ones are rounded to it, many words of them."""
    query = np.full(GROUP, rng.uniform(0.01, 0.02), np.float32)
    query[0] = 10
    all_bits = np.full(100, 2**64 - 1, np.uint64)
    return Row(query, *NO_CENTROID, all_bits, np.ones(100, np.float32), np.float32(1))


def a_large_bias(rng):
    """A bias that is itself rounded, and dwarfs the rest."""
    centroid = rng.integers(-127, 128, 8).astype(np.int8)
    query = normal(rng, 8) * np.float32(1e-6)
    step = np.float32(rng.uniform(10, 20))
    return Row(query, centroid, step, *no_words(), metric=EUCLIDEAN)


def below_normal(rng):
    """A product below float32's normal range."""
    query = normal(rng, GROUP) * np.float32(1e-20)
    scale = np.float32(1e-22 * rng.uniform(1, 2))
    return Row(query, *NO_CENTROID, any_words(rng, 1), np.ones(1, np.float32), scale)


def remainder_along_the_query(rng):
    """The remainder, which the codes lose, points where the query does."""
    query = np.zeros(4, np.float32)
    query[0] = 1
    remainder = np.zeros(4)
    remainder[0] = rng.uniform(1, 2)
    return Row(query, *NO_CENTROID, *no_words(), remainder=remainder)


ROWS = [
    at_its_centroid, between_table_steps, between_integer_values, a_large_bias, below_normal,
    remainder_along_the_query,
]  # fmt: skip


@pytest.mark.parametrize("kind", ROWS)
def test_no_bound_is_below_the_truth(kind, rng):
    assert not any(falls_short(kind(rng)) for _ in range(TRIES))


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (at_its_centroid, {"ALLOWANCE_QUERY_STEP": 0.0}),
        (between_table_steps, {"ALLOWANCE_TABLE_ENTRY": 0.0}),
        (between_integer_values, {"ALLOWANCE_VALUE": 0.0}),
        (a_large_bias, {"ALLOWANCE_FLOAT32": 0.0}),
        (below_normal, {"ALLOWANCE_UNDERFLOW": 0.0}),
        (remainder_along_the_query, {"rounding": DOWN_IN_HEADS}),
        # Rounding to float32 is one of the sixteen that allowance 4 pays for.
        (remainder_along_the_query, {"rounding": DOWN_IN_RECORDS, "ALLOWANCE_FLOAT32": 0.0}),
    ],
)
def test_without_an_allowance_a_bound_falls_short(kind, changed, rng):
    assert any(falls_short(kind(rng), **changed) for _ in range(TRIES))


def test_a_bound_that_is_no_number_drops_no_row():
    ones, words = np.ones(4, np.float32), np.zeros(1, np.uint64)
    centroid = np.full(4, 127, np.int8)
    coefficients = np.full(1, 1e19, np.float32)
    row = Row(1e19 * ones, centroid, np.float32(1e19), words, coefficients, np.float32(1e19))
    for cutoff in (0.0, 3e38, -3e38):
        assert passes(row, in_python(), np.float32(cutoff)) == (True, True)
    assert passes(row, in_python(not_below=at_least), np.float32(0))[0] == 0


# --- bounds once for each query ------------------------------------------------------------------


def fractions(array):
    """Convert the numbers of an array to fractions, row by row."""
    return [[Fraction(value) for value in line] for line in array.astype(float).tolist()]


def error_is_beyond_its_bound(query, rotation, **changed):
    """Check whether |δ| is more than the bound on it."""
    dim, kernels = len(query), in_python(**changed)
    rotated = np.empty(dim, np.float32)
    kernels._rotate_in_float64(query, rotation, np.empty(dim), rotated)
    length = float(np.sqrt(reference.dot(query, query)))
    bound = kernels.rotation_error_bound(length, dim, kernels.orthogonality_defect(rotation))
    (entries,), (rotated_entries,) = fractions(query[None]), fractions(rotated[None])
    errors = [
        q - sum(r * x for r, x in zip(line, rotated_entries, strict=True))
        for q, line in zip(entries, fractions(rotation), strict=True)
    ]
    return Fraction(float(bound)) ** 2 < sum(x * x for x in errors)


def a_rounded_rotation(rng):
    """Orthogonal but for the rounding of its entries."""
    dim = int(rng.integers(2, 20))
    return np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)


def halves(rng):
    """Orthogonal to the last bit: a query loses only the rounding of its rotated entries."""
    return np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], np.float32) / 2


def almost_identity(rng):
    """A rotation by so little that I − R Rᵀ is lost in float64."""
    off = np.float32(2.0 ** -rng.uniform(27, 28))
    return np.array([[1, off], [-off, 1]], np.float32)


ROTATIONS = [a_rounded_rotation, halves, almost_identity]


@pytest.mark.parametrize("kind", ROTATIONS)
def test_the_error_of_rotating_is_bounded(kind, rng):
    for _ in range(TRIES):
        rotation = kind(rng)
        assert not error_is_beyond_its_bound(normal(rng, len(rotation)), rotation)


def test_the_bound_on_the_error_of_rotating_needs_its_allowance(rng):
    queries = [normal(rng, 4) for _ in range(TRIES)]
    assert any(
        error_is_beyond_its_bound(query, halves(rng), ALLOWANCE_ROTATION=0.0) for query in queries
    )


def defect_falls_short(rotation, **changed):
    """Check whether ‖I − R Rᵀ‖, which no column exceeds, is more than the bound on it."""
    bound, rows = in_python(**changed).orthogonality_defect(rotation), fractions(rotation)
    return any(
        Fraction(bound) ** 2
        < sum((sum(map(mul, a, b)) - (i == j)) ** 2 for j, b in enumerate(rows))
        for i, a in enumerate(rows)
    )


@pytest.mark.parametrize("kind", ROTATIONS)
def test_the_defect_of_a_rotation_is_bounded(kind, rng):
    assert not any(defect_falls_short(kind(rng)) for _ in range(TRIES))


def test_the_bound_on_the_defect_needs_the_allowance_of_its_sums(rng):
    assert any(defect_falls_short(almost_identity(rng), ALLOWANCE_DEFECT=0.0) for _ in range(TRIES))


def root(value, up):
    """Compute √ of a fraction to 200 bits, rounded down or up."""
    scaled = value * 2**400
    return Fraction(isqrt(scaled.numerator // scaled.denominator) + up, 2**200)


def cutoff_is_too_high(rng, metric, **changed):
    """Check whether the cutoff of a score is more than a row of just that score has."""
    dim = int(rng.integers(3, 40))
    query = normal(rng, dim)
    row = normal(rng, dim)
    if metric == EUCLIDEAN:  # ⟨q, x⟩ − |x|²/2 is next to nothing
        row *= np.float32(2 * float(query @ row) / float(row @ row))
    else:  # ⟨q, x⟩ is next to nothing
        last = -(query[:-1].astype(float) @ row[:-1]) / query[-1]
        row[-1] = last
        error = float(query.astype(float) @ row.astype(float))
        smallest = int(np.argmin(np.abs(query)))
        row[smallest] -= np.float32(error / query[smallest])
    q, x = ([Fraction(value) for value in array.tolist()] for array in (query, row))
    inner, square = (sum(map(mul, x, factors)) for factors in (q, x))
    score = reference.full_score(query, row, metric)
    length = float(np.sqrt(reference.dot(query, query)))
    truth = inner - square / 2 if metric == EUCLIDEAN else inner
    if metric == COSINE and square:
        truth = inner / root(square, inner < 0)
    longest = 1.0 if metric == COSINE else float(root(square, 1))
    kernels = in_python(**changed)
    cutoff = kernels.score_cutoff(np.float64(score), length, longest, dim, metric)
    return truth < Fraction(float(cutoff))


@pytest.mark.parametrize("metric", [IP, COSINE, EUCLIDEAN])
def test_the_cutoff_of_a_score_holds_and_needs_its_allowance(metric, rng):
    assert not any(cutoff_is_too_high(rng, metric) for _ in range(10 * TRIES))
    assert any(cutoff_is_too_high(rng, metric, ALLOWANCE_SCORE=0.0) for _ in range(10 * TRIES))


# --- the Python that was tested is what is compiled ----------------------------------------------


def test_compiled_and_in_python_bounds_keep_the_same_rows(rng):
    python = in_python()
    for kind in ROWS:
        for _ in range(5):
            row = kind(rng)
            segment, bounds = single_row_segment(row, UP)
            options = SearchOptions(row.metric, 1, ALL)
            packed = structs.pack(segment), structs.pack(bounds)
            for floor in np.linspace(-1, 1, 5) * float(row.truth()):
                results = []
                for run, arguments in (
                    (python.exact_batch, (segment, bounds)),
                    (exact.exact_batch, packed),
                ):
                    out, floors = TopK.empty(1, 1, 4), np.array([floor])
                    run(row.query[None, :], floors, *arguments, options, 1, out)
                    results.append([array.tolist() for array in out])
                assert results[0] == results[1]
