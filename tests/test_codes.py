"""Residual codes: the share of bits, and decoding from some of them."""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec import codes
from nestvec.codes import MAX_BITS, REMAINING_VARIANCE, Codec, row_norms, word_order
from nestvec.index.build.kmeans import CellAssignment
from nestvec.kernels import layout, reference
from nestvec.kernels.backend import SearchOptions, SegmentArrays, SegmentPlan
from nestvec.kernels.layout import GROUP, IP, LANES, NARROW, PARTS, RECORD_TAIL, ROW, SCALE
from nestvec.plan import Plan

law = settings(deadline=None, max_examples=40)
energies = st.lists(st.integers(0, 1000).map(float), min_size=1, max_size=6).map(np.array)
BITS = (0.3, 1.0, 2.0, 3.5, 8.0)


def remaining_error(energy, planes):
    """Compute the squared error that remains when each group has so many planes."""
    return float(energy @ REMAINING_VARIANCE[np.asarray(planes)])


def bell_shaped(rng, n, dim):
    """Draw residuals whose spread falls from front to back, as after a rotation."""
    spread = np.exp(-3 * np.arange(dim) / dim)
    return (rng.standard_normal((n, dim)) * spread).astype(np.float32)


def fitted(residuals, bits):
    return Codec.fit(residuals, np.square(residuals.astype(float)).sum(axis=0), bits)


def encoded(codec, residuals):
    """Code rows whose centroid is zero."""
    return codec.encode(residuals, row_norms(residuals))


def directions(codec, words, funnel, stage=0):
    """Decode the words of a stage in float64: Σ coefficient · (bit − ½), times spread."""
    part = slice(funnel.starts[stage], funnel.starts[stage + 1])
    total = np.zeros((len(words), GROUP * len(codec.bits)))
    for slot, group, weight in zip(
        funnel.word_slots[part], funnel.groups[part], funnel.coefficients[part], strict=True
    ):
        bits = words[:, slot, None] >> np.arange(GROUP, dtype=np.uint64) & np.uint64(1)
        total[:, GROUP * group : GROUP * (group + 1)] += float(weight) * (bits - 0.5)
    return codec.sigma.astype(float) * total[:, : codec.dim]


def decoded(codec, residuals, plan):
    """Decode residuals from the words of the plan's first stage, scale included."""
    coded = encoded(codec, residuals)
    funnel = codec.funnel(Plan.parse(f"probe=1; {plan}:1"))
    return coded.scale[:, None] * directions(codec, coded.words, funnel)


# --- the order of words --------------------------------------------------------------------------


@law
@given(energies, st.integers(1, 60))
def test_the_planes_of_a_group_come_highest_first_and_never_too_many(energy, count):
    words = word_order(energy, count)
    assert len(words) == min(count, MAX_BITS * len(energy))
    for group in range(len(energy)):
        planes = words[words[:, 0] == group, 1]
        assert planes.tolist() == list(range(len(planes)))
        assert len(planes) <= MAX_BITS


@law
@given(energies, st.integers(1, 59))
def test_fewer_words_are_a_prefix_of_more(energy, count):
    fewer, more = word_order(energy, count), word_order(energy, count + 1)
    assert (more[: len(fewer)] == fewer).all()


@law
@given(st.lists(st.integers(0, 50).map(float), min_size=1, max_size=3).map(np.array), st.data())
def test_no_other_share_of_the_words_leaves_less_error(energy, data):
    count = data.draw(st.integers(1, 3 * len(energy)))
    greedy = np.bincount(word_order(energy, count)[:, 0], minlength=len(energy))
    shares = product(range(MAX_BITS + 1), repeat=len(energy))
    best = min(remaining_error(energy, share) for share in shares if sum(share) == count)
    assert remaining_error(energy, greedy) == pytest.approx(best, rel=1e-12, abs=1e-12)


def test_equal_gains_go_to_the_earlier_group():
    assert word_order(np.ones(3), 4).tolist() == [[0, 0], [1, 0], [2, 0], [0, 1]]


def test_a_stronger_group_gets_more_planes():
    planes = np.bincount(word_order(np.array([100.0, 10.0, 1.0]), 9)[:, 0])
    assert planes[0] > planes[1] > planes[2] > 0


# --- fitting -------------------------------------------------------------------------------------


def test_a_row_whose_decoding_is_next_to_nothing_counts_as_its_centroid(rng):
    residuals = np.zeros((300, 128), np.float32)
    residuals[:, :64] = rng.standard_normal((300, 64))
    codec = fitted(residuals, 0.5)
    assert codec.words.tolist() == [[0, 0]]
    strange = np.zeros((3, 128), np.float32)
    strange[:, 0], strange[:, 127] = (1e-20, 1e-44, -1e-44), 1
    assert encoded(codec, strange).scale.tolist() == [0, 0, 0]


@pytest.mark.parametrize("dim", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("bits", BITS)
def test_the_number_of_words_follows_from_the_bits(dim, bits, rng):
    codec = fitted(bell_shaped(rng, 50, dim), bits)
    groups = -(-dim // GROUP)
    assert len(codec.words) == min(max(1, round(bits * dim / GROUP)), MAX_BITS * groups)
    assert codec.bits.sum() == len(codec.words)
    assert codec.dim == dim


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_rows_or_none_are_enough_to_fit(n, rng):
    codec = fitted(bell_shaped(rng, n, 70), 2.0)
    coded = encoded(codec, bell_shaped(rng, 5, 70))
    assert coded.words.shape == (5, len(codec.words))
    assert all(np.isfinite(array).all() for array in coded)


def test_rows_without_spread_can_be_fitted_and_coded():
    zeros = np.zeros((10, 70), np.float32)
    coded = encoded(fitted(zeros, 2.0), zeros)
    assert not coded.scale.any()
    assert len(coded.words) == 10


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 64, 65, 128, 200]), st.sampled_from(BITS))
def test_the_head_is_some_of_the_words_byte_by_byte(seed, dim, bits):
    residuals = bell_shaped(np.random.default_rng(seed), 40, dim)
    residuals = residuals[:, np.random.default_rng(seed).permutation(dim)].copy("C")
    codec = fitted(residuals, bits)
    assert 1 <= len(codec.head) <= len(codec.words)
    assert len(set(codec.head.tolist())) == len(codec.head)
    coded = encoded(codec, residuals)
    words = coded.head.reshape(len(residuals), len(codec.head), 8).copy().view("<u8")[..., 0]
    assert (words == coded.words[:, codec.head]).all()
    head, scale = codec.encode_head(residuals)
    assert (head == coded.head).all()
    assert (scale == coded.scale).all()


def test_the_head_holds_a_word_even_where_the_front_has_none(rng):
    residuals = bell_shaped(rng, 100, 256)[:, ::-1].copy()
    residuals[:, :192] = 0
    codec = fitted(residuals, 1.0)
    assert codec.bits[0] == 0
    assert len(codec.head) >= 1


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 64, 65, 128, 200]),
    st.sampled_from(BITS),
    st.data(),
)
def test_a_rectangle_is_as_many_words_as_its_bits_the_most_significant_inside(
    seed, dim, bits, data
):
    codec = fitted(bell_shaped(np.random.default_rng(seed), 40, dim), bits)
    width, planes = data.draw(st.integers(1, dim)), data.draw(st.integers(1, 9))
    read = codec._read(width, planes)
    inside = [w for w, (group, _) in enumerate(codec.words) if GROUP * group < width]
    assert read.tolist() == inside[: -(-width * planes // GROUP)]


@pytest.mark.parametrize("dim", [1, 3, 64, 65, 70, 130])
@pytest.mark.parametrize("bits", BITS)
def test_bounds_read_the_head_and_all_words(dim, bits, rng):
    codec = fitted(bell_shaped(rng, 40, dim), bits)
    funnel = codec.full_funnel
    head, all_words = funnel.word_slots[: funnel.starts[1]], funnel.word_slots[funnel.starts[1] :]
    assert head.tolist() == codec.head.tolist()
    assert all_words.tolist() == list(range(len(codec.words)))


def test_all_bits_of_all_dimensions_are_all_words(rng):
    codec = fitted(bell_shaped(rng, 40, 130), 2.0)
    assert len(codec._read(130, MAX_BITS)) == len(codec.words)


# --- decoding ------------------------------------------------------------------------------------


def test_the_decoding_error_falls_with_every_bit_stored(rng):
    residuals = bell_shaped(rng, 400, 130)
    errors = []
    for bits in (0.5, 1.0, 2.0, 3.0, 4.0, 6.0):
        codec = fitted(residuals, bits)
        errors.append(np.square(residuals - decoded(codec, residuals, "130x8")).mean())
    assert all(b < a for a, b in pairwise(errors))


def test_the_decoding_error_falls_with_every_bit_read(rng):
    residuals = bell_shaped(rng, 400, 130)
    codec = fitted(residuals, 4.0)
    plans = ["130x1", "130x2", "130x3", "130x4"]
    errors = [np.square(residuals - decoded(codec, residuals, plan)).mean() for plan in plans]
    assert all(b < a for a, b in pairwise(errors))


@pytest.mark.parametrize("bits", [1.0, 2.0, 4.0])
def test_a_decoded_row_has_the_true_inner_product_with_itself(bits, rng):
    residuals = bell_shaped(rng, 200, 130)
    codec = fitted(residuals, bits)
    along = (residuals.astype(float) * decoded(codec, residuals, "130x8")).sum(axis=1)
    squares = np.square(residuals.astype(float)).sum(axis=1)
    # Coefficients, sigma and scale are float32; the decoded direction is rounded to it besides.
    assert np.abs(along / squares - 1).max() < 130 * 2.0**-24


def test_the_best_bits_of_normal_residuals_leave_the_error_they_should(rng):
    # Max (1960): one bit leaves 36 % of a normal variable's variance, two 12 %, three 3.7 %.
    residuals = rng.standard_normal((4000, 64)).astype(np.float32)
    for bits in (1, 2, 3, 4):
        codec = fitted(residuals, float(bits))
        direction = decoded(codec, residuals, "64x8")
        # Undo the unbiasing, which trades error for the right length.
        along = (residuals * direction).sum(axis=1) / np.square(direction).sum(axis=1)
        share = np.square(residuals - along[:, None] * direction).sum() / np.square(residuals).sum()
        assert share == pytest.approx(REMAINING_VARIANCE[bits], rel=0.1)


def one_cell(codec, residuals):
    """Put all rows into one cell about zero."""
    n, coded = len(residuals), encoded(codec, residuals)
    zeros, blank = np.zeros(n, np.int64), np.zeros(LANES, np.float32)
    assignment = CellAssignment.from_cells(zeros, zeros - 1, 1, LANES)
    slots = LANES * int(assignment.overflow_starts[-1])
    records = np.zeros((n, len(codec.words) + RECORD_TAIL), np.uint64)
    records[:, :-RECORD_TAIL] = coded.words
    records.view(np.float32)[:, SCALE] = coded.scale
    records.view(np.int32)[:, ROW] = np.arange(n)
    head = np.zeros((slots, coded.head.shape[1]), np.uint8)
    head[:n] = coded.head
    return layout.Cells(
        rotation=np.eye(codec.dim, dtype=np.float32),
        sigma=codec.sigma,
        centroids=layout.centroid_bytes(np.zeros((1, 4), np.int8)),
        steps=blank,
        priors=blank,
        spreads=blank,
        starts=assignment.starts,
        overflow_starts=assignment.overflow_starts,
        counts=assignment.counts,
        spill_counts=assignment.spill_counts,
        row_offsets=np.array([0, n]),
        spill_row_offsets=np.zeros(2, np.int64),
        spill_record_ids=np.empty(0, np.int32),
        scale=np.append(coded.scale, np.full(slots - n, np.nan, np.float32)),
        bias=np.empty(0, np.float32),
        head=np.ascontiguousarray(head.reshape(-1, LANES, head.shape[1]).transpose(0, 2, 1)),
        head_errors=np.zeros((int(assignment.starts[-1]), PARTS, LANES), np.uint16),
        records=records,
        record_floats=records.view(np.float32),
        record_ints=records.view(np.int32),
    )


def estimates(codec, residuals, query, plan):
    """Estimate all rows by a first stage `plan`, in the order of rows."""
    n = len(residuals)
    funnel = codec.funnel(Plan.parse(f"probe=1; {plan}:{n}"))
    segment = SegmentArrays(one_cell(codec, residuals), residuals)
    options = SearchOptions(IP, n, np.empty(0, np.uint8))
    rows, values, _ = reference.search_one(query, segment, SegmentPlan(funnel, 1, False), options)
    return values[np.argsort(rows)]


@pytest.mark.parametrize("plan", ["130x1", "64x2", "64x1", "130x8"])
def test_an_estimate_is_the_decoded_inner_product_within_the_rounding_of_tables(plan, rng):
    residuals = bell_shaped(rng, 100, 130)
    codec = fitted(residuals, 3.0)
    query = bell_shaped(rng, 1, 130)[0]
    width = int(plan.split("x")[0])
    rows = decoded(codec, residuals, plan)[:, :width]
    cells, funnel = one_cell(codec, residuals), codec.funnel(Plan.parse(f"probe=1; {plan}:100"))
    values = reference.word_values(query, cells, funnel, 0)
    # Float32 sums of some hundred values; tables are off by half a step in each entry.
    bound = 1000 * 2.0**-24 * np.abs(values).sum()
    if reference.uses_head_tables(funnel):
        bound += 16 * len(values) * reference.lookup_tables(values, NARROW)[1] / 2
    error = np.abs(estimates(codec, residuals, query, plan) - rows @ query[:width])
    assert (error <= bound * encoded(codec, residuals).scale).all()


def test_estimates_are_right_on_average(rng):
    # Unbiased where no direction is special (RaBitQ, theorem 3.2).
    residuals = rng.standard_normal((3000, 128)).astype(np.float32)
    codec = fitted(residuals, 2.0)
    query = rng.standard_normal(128).astype(np.float32)
    truth = residuals.astype(float) @ query
    estimate = estimates(codec, residuals, query, "128x8")
    error = estimate - truth
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(error))
    assert (estimate @ truth) / (truth @ truth) == pytest.approx(1, abs=0.03)


def test_estimates_follow_the_truth_of_rotated_residuals(rng):
    residuals = bell_shaped(rng, 1000, 128)
    query = bell_shaped(rng, 1, 128)[0]
    estimate = estimates(fitted(residuals, 2.0), residuals, query, "128x8")
    assert np.corrcoef(estimate, residuals.astype(float) @ query)[0, 1] > 0.98


# --- errors --------------------------------------------------------------------------------------


def fractions(array):
    """Convert an array to fractions, to calculate with exactly."""
    return np.array([Fraction(x) for x in array.ravel().tolist()], object).reshape(array.shape)


def code_and_decode(codec, residuals):
    """Code rows, and decode the head and all words to float32 directions."""
    coded = encoded(codec, residuals)
    decoded_parts = [
        directions(codec, coded.words, codec.full_funnel, stage) / codec.sigma.astype(float)
        for stage in (0, 1)
    ]
    return coded, [part.astype(np.float32) * codec.sigma for part in decoded_parts]


def part_squares(errors):
    """Compute the exact squared norms of the parts."""
    bounds = layout.part_bounds(errors.shape[1])
    return np.stack([(errors[:, a:b] ** 2).sum(axis=1) for a, b in pairwise(bounds)], axis=1)


def rounded(rng, rows, dim, far, scale):
    """Draw rows, a rotation and a centroid, and compute residuals in float32 arithmetic."""
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    middle = far * rng.standard_normal(dim)
    vectors = ((middle + rng.standard_normal((rows, dim))) * scale).astype(np.float32)
    centroid = (vectors @ rotation).mean(axis=0, dtype=np.float64).astype(np.float32)
    return vectors, rotation, centroid, vectors @ rotation - centroid


def errors_fall_short(seed, dim, bits, far, scale):
    """Check whether a stored error is below the norm that it bounds, in exact arithmetic."""
    rng = np.random.default_rng(seed)
    vectors, rotation, centroid, residuals = rounded(rng, 6, dim, far, scale)
    codec = fitted(residuals, bits)
    coded = codec.encode(residuals, row_norms(vectors))
    _, pieces = code_and_decode(codec, residuals)
    exact = fractions(vectors) @ fractions(rotation) - fractions(centroid)
    short = False
    for errors, piece in zip((coded.head_errors, coded.word_errors), pieces, strict=True):
        assert errors.shape == (6, PARTS)
        squares = part_squares(exact - fractions(coded.scale)[:, None] * fractions(piece))
        short |= bool((fractions(errors) ** 2 < squares).any())
        stored = reference.from_bfloat16(reference.bfloat16_up(errors))
        short |= bool((fractions(stored) < fractions(errors)).any())
    return short


SHAPES = st.sampled_from([(1, 8.0), (3, 8.0), (64, 2.0), (70, 8.0), (100, 0.5)])


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    SHAPES,
    st.sampled_from([0.0, 1e3, 1e6]),
    st.sampled_from([1.0, 1e8, 1e-30, 1e-38, 1e-42, 1e-44]),
)
def test_an_error_is_no_less_than_the_norm_of_the_remainder(seed, shape, far, scale):
    assert not errors_fall_short(seed, *shape, far, scale)


def test_the_errors_need_their_allowance_for_rounding(monkeypatch):
    monkeypatch.setattr(codes, "_ROUNDING", 0.0)
    assert any(errors_fall_short(seed, 64, 8.0, 1e5, 1.0) for seed in range(5))


def test_the_errors_of_the_shortest_rows_need_their_allowance(monkeypatch):
    monkeypatch.setattr(codes, "_SMALLEST", 0.0)
    assert any(errors_fall_short(seed, 64, 8.0, 0.0, 1e-43) for seed in range(5))


def test_row_norms_are_summed_in_float64():
    rows = np.full((1, 1000), 1e15, np.float32)
    exact = np.sqrt(1000 * np.float64(np.float32(1e15)) ** 2)
    assert row_norms(rows)[0] == np.float32(exact)
