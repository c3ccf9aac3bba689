"""No bound of `kernels.exact` is below what it bounds, and none of its allowances is one too many.

A bound is held against the true value in exact arithmetic, on rows made to strain one allowance.
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

from nestvec.kernels import dense, exact, layout, reference, simd
from nestvec.kernels import tables as look_ups
from nestvec.kernels.layout import COSINE, EUCLIDEAN, GROUP, IP, LANES, PARTS

TRIES = 120
EVERY = np.empty(0, np.uint8)


# --- the kernels in Python -----------------------------------------------------------------------


@nb.njit
def wide_table_sums(head, block, tables, slots, sums, count):
    look_ups.wide_table_sums(head, block, tables, slots, sums, count)


@nb.njit
def bound_lanes(  # noqa: PLR0913
    sums, scale, place, base, shift, step, out, errors, first, weights
):
    simd.bound_lanes(sums, scale, place, base, shift, step, out, errors, first, weights)


@nb.njit
def byte_products(codes, place, query, sums, count):
    dense.byte_products(codes, place, query, sums, count)


@nb.njit
def chosen_sum(words, row, slots, values, count):
    return simd.chosen_sum(words, row, slots, values, count)


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
    "chosen_sum": chosen_sum,
    "not_below": not_below,
    "lowest_bit": lambda bits: (int(bits) & -int(bits)).bit_length() - 1,
    "prefetch": lambda *_: None,
}


def in_python(**changed):
    """The functions of `kernels.exact`, not compiled, some of their names standing for others."""
    names = {**vars(exact), **INSTRUCTIONS}
    for name, value in vars(exact).items():
        plain = unwrap(getattr(value, "py_func", value))
        if isinstance(plain, FunctionType) and plain.__module__ == exact.__name__:
            names[name] = FunctionType(plain.__code__, names, name)
    names.update(changed)
    return SimpleNamespace(**names)


# --- one row, its bound and the truth ------------------------------------------------------------


class Row(NamedTuple):
    """A row in one cell: centroid + scale · decoded words + what they leave, rotated by nothing."""

    query: np.ndarray
    whole: np.ndarray
    step: np.float32
    words: np.ndarray
    coefficients: np.ndarray
    scale: np.float32 = np.float32(0)
    left: np.ndarray | None = None
    metric: int = IP

    def vector(self):
        """The row itself, exactly."""
        dim = len(self.query)
        row = [Fraction(0)] * dim
        for i, whole in enumerate(self.whole.tolist()):
            row[i] += whole * Fraction(float(self.step))
        halves = np.unpackbits(self.words.view(np.uint8), bitorder="little").reshape(-1, GROUP)
        decoded = ((halves - 0.5) * self.coefficients[:, None].astype(float)).sum(axis=0)
        for i, value in enumerate(decoded.astype(np.float32).tolist()[:dim]):
            row[i] += Fraction(float(self.scale)) * Fraction(value)
        if self.left is not None:
            row = [x + Fraction(y) for x, y in zip(row, self.left.tolist(), strict=True)]
        return row

    def truth(self):
        """⟨q, y⟩, and under the Euclidean metric less |y|²/2."""
        row = self.vector()
        inner = sum(Fraction(q) * x for q, x in zip(self.query.tolist(), row, strict=True))
        return inner + Fraction(self.half_square())

    def half_square(self):
        """−|y|²/2 where that is what rows are ranked by."""
        if self.metric != EUCLIDEAN:
            return Fraction(0)
        return -sum(x * x for x in self.vector()) / 2

    def longest(self):
        """A bound on |y|; without a rotation and a bias nothing needs one."""
        if self.metric != EUCLIDEAN:
            return 0.0
        return float(-2 * self.half_square()) ** 0.5 * (1 + 1e-9)


def laid_out(row, stored):
    """Cells that hold nothing but the row."""
    dim, count = len(row.query), len(row.words)
    scale, bias = np.full(LANES, np.nan, np.float32), np.zeros(LANES, np.float32)
    scale[0], bias[0] = row.scale, np.float32(float(row.half_square()))
    head = np.zeros((1, 8 * count, LANES), np.uint8)
    head[0, :, 0] = row.words.view(np.uint8)
    head_errors = np.zeros((1, PARTS, LANES), np.uint16)
    errors = np.zeros((1, PARTS))
    if row.left is not None:
        errors = reference.part_norms(row.left[None, :])
        head_errors[0, :, 0] = stored.head(errors)[0]
    place = np.zeros(1, np.int64)
    records = layout.pack_records(
        row.words[None, :], scale[:1], bias[:1], place, place, stored.words(errors)
    )
    nothing, steps = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    steps[0] = row.step
    cells = layout.Cells(
        rotation=np.eye(dim, dtype=np.float32), sigma=np.ones(dim, np.float32),
        centroids=layout.centroid_bytes(row.whole[None, :]), steps=steps, priors=nothing,
        spreads=nothing, starts=np.array([0, 1]), rests=np.array([1, 1]), counts=np.array([1]),
        spills=place, firsts=np.array([0, 1]), spill_firsts=np.array([0, 0]),
        spill_homes=np.empty(0, np.int32), scale=scale, bias=bias, head=head,
        head_errors=head_errors, records=records, record_floats=records.view(np.float32),
        record_ints=records.view(np.int32),
    )  # fmt: skip
    for array in cells:
        array.flags.writeable = False  # as what is mapped
    slots = np.tile(np.arange(count), 2)
    funnel = layout.Funnel(
        dims=np.array([dim, dim]), keeps=np.array([1, 1]), starts=np.array([0, count, 2 * count]),
        slots=slots, head_slots=slots, groups=np.zeros(2 * count, np.int64),
        coefficients=np.tile(row.coefficients, 2),
    )  # fmt: skip
    return cells, funnel


class Stored(NamedTuple):
    """How errors are rounded to be stored."""

    head: Callable
    words: Callable


UP = Stored(reference.bfloat16_up, reference.float32_up)
DOWN_IN_HEADS = UP._replace(head=lambda errors: reference.bfloat16_up(errors * (1 - 2.0**-8)))
DOWN_IN_RECORDS = UP._replace(words=lambda errors: np.nextafter(UP.words(errors), np.float32(0)))


def least_above(value):
    """The smallest float32 that is not below a fraction."""
    narrow = np.float32(float(value))
    return narrow if Fraction(float(narrow)) >= value else np.nextafter(narrow, np.float32(np.inf))


def kept(row, kernels, cut, stored=UP):
    """Whether the row passes the cut by its head, and by all words."""
    cells, funnel = laid_out(row, stored)
    vectors = np.zeros((1, len(row.query)), np.float32)
    vectors.flags.writeable = False
    parts = layout.part_bounds(len(row.query))
    rows, scores = np.empty((1, 1), np.int64), np.empty((1, 1))
    counts = np.empty((1, 4), np.int64)
    kernels._cut.__globals__["_cut"] = lambda *_: cut
    with np.errstate(all="ignore"):
        kernels.exact_batch(
            row.query[None, :], cells, funnel, vectors, parts, row.longest(), 0.0, EVERY,
            row.metric, 1, np.array([-np.inf]), 1, rows, scores, counts,
        )  # fmt: skip
    return counts[0, 1] == 1, counts[0, 2] == 1


def falls_short(row, stored=UP, **changed):
    """Whether a bound on the row is below the truth: it must reach that, rounded up."""
    return not all(kept(row, in_python(**changed), least_above(row.truth()), stored))


# --- rows that strain one allowance each ---------------------------------------------------------


def any_words(rng, count):
    return rng.integers(0, 2**64, count, dtype=np.uint64)


def no_words():
    return np.zeros(1, np.uint64), np.ones(1, np.float32)


def normal(rng, dim):
    return rng.standard_normal(dim).astype(np.float32)


NO_CENTROID = np.zeros(4, np.int8), np.float32(0)


def at_its_centroid(rng):
    """The query is not a whole number of steps."""
    dim = int(rng.integers(1, 9))
    whole = (127 * rng.choice([-1, 1], dim)).astype(np.int8)
    return Row(normal(rng, dim), whole, np.float32(rng.uniform(0.5, 1)), *no_words())


def between_table_steps(rng):
    """Four large values set the step, sixty small ones are rounded to it."""
    query = normal(rng, GROUP) * np.float32(0.01)
    query[:4] *= 100
    return Row(query, *NO_CENTROID, any_words(rng, 1), np.ones(1, np.float32), np.float32(1))


def between_whole_values(rng):
    """One large value sets the step, equal ones are rounded to it, many words of them."""
    query = np.full(GROUP, rng.uniform(0.01, 0.02), np.float32)
    query[0] = 10
    every = np.full(100, 2**64 - 1, np.uint64)
    return Row(query, *NO_CENTROID, every, np.ones(100, np.float32), np.float32(1))


def a_large_bias(rng):
    """A bias that is itself rounded, and dwarfs the rest."""
    whole = rng.integers(-127, 128, 8).astype(np.int8)
    query = normal(rng, 8) * np.float32(1e-6)
    step = np.float32(rng.uniform(10, 20))
    return Row(query, whole, step, *no_words(), metric=EUCLIDEAN)


def below_normal(rng):
    """A product below float32's normal range."""
    query = normal(rng, GROUP) * np.float32(1e-20)
    scale = np.float32(1e-22 * rng.uniform(1, 2))
    return Row(query, *NO_CENTROID, any_words(rng, 1), np.ones(1, np.float32), scale)


def left_along_the_query(rng):
    """All that codes leave of the row points where the query does."""
    query = np.zeros(4, np.float32)
    query[0] = 1
    left = np.zeros(4)
    left[0] = rng.uniform(1, 2)
    return Row(query, *NO_CENTROID, *no_words(), left=left)


ROWS = [
    at_its_centroid, between_table_steps, between_whole_values, a_large_bias, below_normal,
    left_along_the_query,
]  # fmt: skip


@pytest.mark.parametrize("kind", ROWS)
def test_no_bound_is_below_the_truth(kind, rng):
    assert not any(falls_short(kind(rng)) for _ in range(TRIES))


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (at_its_centroid, {"_LARGEST_WHOLE": 0.0}),
        (between_table_steps, {"_ENTRY": 0.0}),
        (between_whole_values, {"_VALUE": 0.0}),
        (a_large_bias, {"_LAST": 0.0}),
        (below_normal, {"_TINY": 0.0}),
        (left_along_the_query, {"stored": DOWN_IN_HEADS}),
        # To a float32, rounding is one of those that the last operations are allowed.
        (left_along_the_query, {"stored": DOWN_IN_RECORDS, "_LAST": 0.0}),
    ],
)
def test_without_an_allowance_a_bound_falls_short(kind, changed, rng):
    assert any(falls_short(kind(rng), **changed) for _ in range(TRIES))


def test_a_bound_that_is_no_number_drops_no_row():
    ones, every = np.ones(4, np.float32), np.zeros(1, np.uint64)
    whole = np.full(4, 127, np.int8)
    coefficients = np.full(1, 1e19, np.float32)
    row = Row(1e19 * ones, whole, np.float32(1e19), every, coefficients, np.float32(1e19))
    for cut in (0.0, 3e38, -3e38):
        assert kept(row, in_python(), np.float32(cut)) == (True, True)
    assert kept(row, in_python(not_below=at_least), np.float32(0))[0] == 0


# --- what is bounded once for each query ---------------------------------------------------------


def fractions(array):
    """The numbers of an array, row by row, exactly."""
    return [[Fraction(value) for value in line] for line in array.astype(float).tolist()]


def rest_is_beyond(query, rotation, **changed):
    """Whether |δ| is more than the bound on it."""
    dim, kernels = len(query), in_python(**changed)
    rotated = np.empty(dim, np.float32)
    kernels._rotate(query, rotation, np.empty(dim), rotated)
    length = float(np.sqrt(reference.dot(query, query)))
    bound = kernels._rotation_rest(length, dim, kernels.defect(rotation))
    (asked,), (turned,) = fractions(query[None]), fractions(rotated[None])
    rests = [
        q - sum(r * x for r, x in zip(line, turned, strict=True))
        for q, line in zip(asked, fractions(rotation), strict=True)
    ]
    return Fraction(float(bound)) ** 2 < sum(x * x for x in rests)


def a_rounded_rotation(rng):
    """Orthogonal but for the rounding of its entries."""
    dim = int(rng.integers(2, 20))
    return np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)


def halves(rng):
    """Orthogonal to the last bit: all that a query loses is the rounding of what it becomes."""
    return np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], np.float32) / 2


def almost_whole(rng):
    """So little turned that I − R Rᵀ is lost in float64."""
    off = np.float32(2.0 ** -rng.uniform(27, 28))
    return np.array([[1, off], [-off, 1]], np.float32)


ROTATIONS = [a_rounded_rotation, halves, almost_whole]


@pytest.mark.parametrize("kind", ROTATIONS)
def test_what_rotating_leaves_is_bounded(kind, rng):
    for _ in range(TRIES):
        rotation = kind(rng)
        assert not rest_is_beyond(normal(rng, len(rotation)), rotation)


def test_what_rotating_leaves_needs_the_allowance_of_rounded_queries(rng):
    queries = [normal(rng, 4) for _ in range(TRIES)]
    assert any(rest_is_beyond(query, halves(rng), _ROTATED=0.0) for query in queries)


def defect_falls_short(rotation, **changed):
    """Whether ‖I − R Rᵀ‖ is more than the bound on it: columns of it are no longer than that."""
    bound, rows = in_python(**changed).defect(rotation), fractions(rotation)
    return any(
        Fraction(bound) ** 2
        < sum((sum(map(mul, a, b)) - (i == j)) ** 2 for j, b in enumerate(rows))
        for i, a in enumerate(rows)
    )


@pytest.mark.parametrize("kind", ROTATIONS)
def test_what_a_rotation_lacks_is_bounded(kind, rng):
    assert not any(defect_falls_short(kind(rng)) for _ in range(TRIES))


def test_what_a_rotation_lacks_needs_the_allowance_of_its_sums(rng):
    assert any(defect_falls_short(almost_whole(rng), _DEFECT=0.0) for _ in range(TRIES))


def root(value, up):
    """√ of a fraction to 200 bits, rounded down or up."""
    scaled = value * 2**400
    return Fraction(isqrt(scaled.numerator // scaled.denominator) + up, 2**200)


def cut_falls_short(rng, metric, **changed):
    """Whether what a score needs is more than what a row of just that score has."""
    dim = int(rng.integers(3, 40))
    query = normal(rng, dim)
    row = normal(rng, dim)
    if metric == EUCLIDEAN:  # ⟨q, x⟩ − |x|²/2 is next to nothing
        row *= np.float32(2 * float(query @ row) / float(row @ row))
    else:  # ⟨q, x⟩ is next to nothing
        last = -(query[:-1].astype(float) @ row[:-1]) / query[-1]
        row[-1] = last
        rest = float(query.astype(float) @ row.astype(float))
        smallest = int(np.argmin(np.abs(query)))
        row[smallest] -= np.float32(rest / query[smallest])
    q, x = ([Fraction(value) for value in array.tolist()] for array in (query, row))
    inner, square = (sum(a * b for a, b in zip(x, other, strict=True)) for other in (q, x))
    score = reference.full_score(query, row, metric)
    length = float(np.sqrt(reference.dot(query, query)))
    has = inner - square / 2 if metric == EUCLIDEAN else inner
    if metric == COSINE and square:
        has = inner / root(square, inner < 0)
    longest = 1.0 if metric == COSINE else float(root(square, 1))
    cut = in_python(**changed)._cut(np.float64(score), length, longest, dim, metric)
    return has < Fraction(float(cut))


@pytest.mark.parametrize("metric", [IP, COSINE, EUCLIDEAN])
def test_what_a_score_needs_is_bounded_and_needs_the_allowance_of_scores(metric, rng):
    assert not any(cut_falls_short(rng, metric) for _ in range(10 * TRIES))
    assert any(cut_falls_short(rng, metric, _SCORE=0.0) for _ in range(10 * TRIES))


# --- the Python that was tested is what is compiled ----------------------------------------------


def test_compiled_and_in_python_bounds_keep_the_same_rows(rng):
    python = in_python()
    for kind in ROWS:
        for _ in range(5):
            row = kind(rng)
            cells, funnel = laid_out(row, UP)
            parts = layout.part_bounds(len(row.query))
            vectors = normal(rng, len(row.query))[None, :]
            vectors.flags.writeable = False
            for floor in np.linspace(-1, 1, 5) * float(row.truth()):
                answers = []
                for run in (python.exact_batch, exact.exact_batch):
                    rows, scores = np.empty((1, 1), np.int64), np.empty((1, 1))
                    counts = np.empty((1, 4), np.int64)
                    run(
                        row.query[None, :], cells, funnel, vectors, parts, row.longest(), 0.0,
                        EVERY, row.metric, 1, np.array([floor]), 1, rows, scores, counts,
                    )  # fmt: skip
                    answers.append((rows.item(), scores.item(), counts.tolist()))
                assert answers[0] == answers[1]
