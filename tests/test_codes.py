"""Residual codes: where bits go, and what fewer of them say."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.codes import _LEFT, MAX_BITS, Codec, order_words, row_norms
from nestvec.kernels import reference
from nestvec.kernels.reference import GROUP
from nestvec.plan import Plan

law = settings(deadline=None, max_examples=40)
energies = st.lists(st.integers(0, 1000).map(float), min_size=1, max_size=6).map(np.array)
BITS = (0.3, 1.0, 2.0, 3.5, 8.0)


def left(energy, planes):
    """The squared error that is left when each group has so many planes."""
    return float(energy @ _LEFT[np.asarray(planes)])


def bell_shaped(rng, n, dim):
    """Residuals whose spread falls from front to back, as after a rotation."""
    spread = np.exp(-3 * np.arange(dim) / dim)
    return (rng.standard_normal((n, dim)) * spread).astype(np.float32)


def fitted(residuals, bits):
    return Codec.fit(residuals, np.square(residuals.astype(float)).sum(axis=0), bits)


def decoded(codec, residuals, plan):
    """What the words of the plan's first stage say of each residual, scale included."""
    words, scale = codec.encode(residuals)
    funnel = codec.funnel(Plan.parse(f"probe=1; {plan}:1"))
    total = np.zeros((len(residuals), GROUP * len(codec.bits)))
    for slot, group, weight in zip(funnel.slots, funnel.groups, funnel.coefficients, strict=True):
        w = codec.head[slot] if slot >= 0 else codec.tail[~slot]
        bits = words[:, w, None] >> np.arange(GROUP, dtype=np.uint64) & np.uint64(1)
        total[:, GROUP * group : GROUP * (group + 1)] += float(weight) * (bits - 0.5)
    return scale[:, None] * codec.sigma.astype(float) * total[:, : codec.dim]


# --- the order of words --------------------------------------------------------------------------


@law
@given(energies, st.integers(1, 60))
def test_the_planes_of_a_group_come_highest_first_and_never_too_many(energy, count):
    words = order_words(energy, count)
    assert len(words) == min(count, MAX_BITS * len(energy))
    for group in range(len(energy)):
        planes = words[words[:, 0] == group, 1]
        assert planes.tolist() == list(range(len(planes)))
        assert len(planes) <= MAX_BITS


@law
@given(energies, st.integers(1, 59))
def test_fewer_words_are_a_prefix_of_more(energy, count):
    fewer, more = order_words(energy, count), order_words(energy, count + 1)
    assert (more[: len(fewer)] == fewer).all()


@law
@given(st.lists(st.integers(0, 50).map(float), min_size=1, max_size=3).map(np.array), st.data())
def test_no_other_share_of_the_words_leaves_less_error(energy, data):
    count = data.draw(st.integers(1, 3 * len(energy)))
    greedy = np.bincount(order_words(energy, count)[:, 0], minlength=len(energy))
    shares = product(range(MAX_BITS + 1), repeat=len(energy))
    best = min(left(energy, share) for share in shares if sum(share) == count)
    assert left(energy, greedy) == pytest.approx(best, rel=1e-12, abs=1e-12)


def test_equal_gains_go_to_the_earlier_group():
    assert order_words(np.ones(3), 4).tolist() == [[0, 0], [1, 0], [2, 0], [0, 1]]


def test_a_stronger_group_gets_more_planes():
    planes = np.bincount(order_words(np.array([100.0, 10.0, 1.0]), 9)[:, 0])
    assert planes[0] > planes[1] > planes[2] > 0


# --- fitting -------------------------------------------------------------------------------------


def test_a_row_of_which_the_words_say_nothing_counts_as_its_centroid(rng):
    residuals = np.zeros((300, 128), np.float32)
    residuals[:, :64] = rng.standard_normal((300, 64))
    codec = fitted(residuals, 0.5)
    assert codec.words.tolist() == [[0, 0]]
    strange = np.zeros((3, 128), np.float32)
    strange[:, 0], strange[:, 127] = (1e-20, 1e-44, -1e-44), 1
    assert codec.encode(strange)[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("dim", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("bits", BITS)
def test_the_words_are_as_many_as_the_bits_asked_for(dim, bits, rng):
    codec = fitted(bell_shaped(rng, 50, dim), bits)
    groups = -(-dim // GROUP)
    assert len(codec.words) == min(max(1, round(bits * dim / GROUP)), MAX_BITS * groups)
    assert codec.bits.sum() == len(codec.words)
    assert codec.dim == dim


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_rows_or_none_are_enough_to_fit(n, rng):
    codec = fitted(bell_shaped(rng, n, 70), 2.0)
    words, scale = codec.encode(bell_shaped(rng, 5, 70))
    assert words.shape == (5, len(codec.words))
    assert np.isfinite(scale).all()


def test_rows_without_spread_can_be_fitted_and_coded():
    zeros = np.zeros((10, 70), np.float32)
    words, scale = fitted(zeros, 2.0).encode(zeros)
    assert not scale.any()
    assert len(words) == 10


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 64, 65, 128, 200]), st.sampled_from(BITS))
def test_head_and_tail_share_out_the_words(seed, dim, bits):
    residuals = bell_shaped(np.random.default_rng(seed), 40, dim)
    residuals = residuals[:, np.random.default_rng(seed).permutation(dim)]
    codec = fitted(residuals, bits)
    assert sorted([*codec.head, *codec.tail]) == list(range(len(codec.words)))
    assert len(codec.head) >= 1


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


def test_all_bits_of_all_dimensions_are_all_words(rng):
    codec = fitted(bell_shaped(rng, 40, 130), 2.0)
    assert len(codec._read(130, MAX_BITS)) == len(codec.words)


# --- what codes say ------------------------------------------------------------------------------


def test_the_decoding_error_falls_with_every_bit_stored(rng):
    residuals = bell_shaped(rng, 400, 130)
    errors = []
    for bits in (0.5, 1.0, 2.0, 3.0, 4.0, 6.0):
        codec = fitted(residuals, bits)
        errors.append(np.square(residuals - decoded(codec, residuals, "130x8")).mean())
    assert all(after < before for before, after in pairwise(errors))


def test_the_decoding_error_falls_with_every_bit_read(rng):
    residuals = bell_shaped(rng, 400, 130)
    codec = fitted(residuals, 4.0)
    plans = ["130x1", "130x2", "130x3", "130x4"]
    errors = [np.square(residuals - decoded(codec, residuals, plan)).mean() for plan in plans]
    assert all(after < before for before, after in pairwise(errors))


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
        assert share == pytest.approx(_LEFT[bits], rel=0.1)


def one_cell(codec, residuals):
    """All rows in one cell about zero, as `reference.estimate` reads them."""
    words, scale = codec.encode(residuals)
    n = -(-len(residuals) // reference.LANES) * reference.LANES
    placed = np.zeros((n, words.shape[1]), np.uint64)
    placed[: len(words)] = words
    head = placed[:, codec.head].reshape(-1, reference.LANES, len(codec.head)).transpose(0, 2, 1)
    return reference.Cells(
        centroids=np.zeros((1, 1), np.float32),
        starts=np.array([0, n // reference.LANES]),
        counts=np.array([len(residuals)]),
        owners=np.zeros(n // reference.LANES, np.int32),
        rows=np.arange(n, dtype=np.int32),
        scale=np.concatenate([scale, np.full(n - len(scale), np.nan, np.float32)]),
        head=np.ascontiguousarray(head),
        tail=placed[:, codec.tail],
        sigma=codec.sigma,
    )


def estimates(codec, residuals, query, plan, stage):
    """The estimates of a first (0) or later (1) stage `plan`."""
    funnel = codec.funnel(Plan.parse(f"probe=1; {plan}:{len(residuals)} > {plan}:1"))
    positions = np.arange(len(residuals))
    zeros = np.zeros(len(residuals), np.float32)
    return reference.estimate(query, one_cell(codec, residuals), funnel, stage, positions, zeros)


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("plan", ["130x1", "64x2", "130x8"])
def test_an_estimate_is_the_decoded_inner_product_within_the_rounding_of_the_query(
    plan, stage, rng
):
    residuals = bell_shaped(rng, 100, 130)
    codec = fitted(residuals, 3.0)
    query = bell_shaped(rng, 1, 130)[0]
    width = int(plan.split("x")[0])
    rows = decoded(codec, residuals, plan)[:, :width]
    planes = reference.SCAN_PLANES if stage == 0 else reference.REFINE_PLANES
    _, steps, _ = reference.query_planes(query, codec.sigma, width, planes)
    step = np.repeat(steps, GROUP)[:width] / codec.sigma[:width]
    # Each entry of query · sigma is off by half a step at most; float32 sums add a little.
    bound = np.abs(rows) @ (step / 2) * (1 + 1e-5) + 1e-5 * np.abs(rows) @ np.abs(query[:width])
    error = np.abs(estimates(codec, residuals, query, plan, stage) - rows @ query[:width])
    assert (error <= bound).all()


def test_estimates_are_right_on_average(rng):
    # Unbiased where no direction is special (RaBitQ, theorem 3.2).
    residuals = rng.standard_normal((3000, 128)).astype(np.float32)
    codec = fitted(residuals, 2.0)
    query = rng.standard_normal(128).astype(np.float32)
    truth = residuals.astype(float) @ query
    estimate = estimates(codec, residuals, query, "128x8", 1)
    error = estimate - truth
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(error))
    assert (estimate @ truth) / (truth @ truth) == pytest.approx(1, abs=0.03)


def test_estimates_follow_the_truth_of_rotated_residuals(rng):
    residuals = bell_shaped(rng, 1000, 128)
    query = bell_shaped(rng, 1, 128)[0]
    estimate = estimates(fitted(residuals, 2.0), residuals, query, "128x8", 1)
    assert np.corrcoef(estimate, residuals.astype(float) @ query)[0, 1] > 0.98


def test_row_norms_are_summed_in_float64():
    rows = np.full((1, 1000), 1e15, np.float32)
    exact = np.sqrt(1000 * np.float64(np.float32(1e15)) ** 2)
    assert row_norms(rows)[0] == np.float32(exact)


def test_one_plan_is_laid_out_once(rng):
    codec = fitted(bell_shaped(rng, 40, 64), 2.0)
    assert codec.funnel(Plan.parse("probe=1; full")) is codec.funnel(Plan.parse("probe=1; full"))
