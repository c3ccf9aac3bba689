"""The definitions themselves: each against a plainer way to say the same."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.kernels import reference
from nestvec.kernels.reference import GROUP, LANES

law = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)
dims = st.sampled_from([1, 5, 63, 64, 65, 100, 128, 130])


def set_bits(words):
    """Bit i of each word in column i."""
    return words[:, None] >> np.arange(GROUP, dtype=np.uint64) & np.uint64(1)


def signed(planes):
    """The integers whose two's complement bit planes these are, lowest plane first."""
    weights = 2 ** np.arange(len(planes))
    weights[-1] *= -1
    return weights @ set_bits(planes).astype(np.int64)


@law
@given(seeds, dims, st.integers(0, 70))
def test_a_packed_word_holds_one_bit_of_each_code(seed, dim, n):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (n, dim), dtype=np.uint8)
    groups = rng.integers(0, -(-dim // GROUP), 9)
    shifts = rng.integers(0, 8, 9)
    words = reference.pack_words(codes, groups, shifts)
    for w, (group, shift) in enumerate(zip(groups, shifts, strict=True)):
        part = codes[:, GROUP * group : GROUP * (group + 1)]
        bits = set_bits(words[:, w])
        assert (bits[:, : part.shape[1]] == part >> shift & 1).all()
        assert not bits[:, part.shape[1] :].any()


@law
@given(seeds, st.integers(1, 9), st.integers(0, 20))
def test_a_word_sum_is_the_plain_sum_over_set_bits(seed, count, n):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, n, dtype=np.uint64)
    planes = rng.integers(0, 2**64, count, dtype=np.uint64)
    expected = set_bits(words).astype(np.int64) @ signed(planes)
    assert (reference.word_sum(words, planes) == expected).all()


@law
@given(seeds, dims, st.sampled_from([2, 4, 6]), st.data())
def test_query_planes_decode_to_the_nearest_integers(seed, dim, planes, data):
    rng = np.random.default_rng(seed)
    query = rng.standard_normal(dim).astype(np.float32)
    query[rng.random(dim) < 0.2] = 0
    sigma = rng.uniform(0.5, 2, dim).astype(np.float32)
    width = data.draw(st.integers(1, dim))
    bits, steps, sums = reference.query_planes(query, sigma, width, planes)
    decoded = np.concatenate([signed(group) for group in bits])
    scaled = np.zeros(len(decoded))
    scaled[:width] = (query * sigma)[:width]
    step = np.repeat(steps, GROUP).astype(np.float64)
    assert np.abs(decoded).max() <= 2 ** (planes - 1) - 1
    # Half a step, and what the float32 quotient of at most 2^(planes-1) rounds by.
    assert (np.abs(decoded * step - scaled) <= step * (0.5 + 2.0**planes * 2**-24)).all()
    assert (sums == decoded.reshape(-1, GROUP).sum(axis=1)).all()


def test_a_query_of_zeros_has_no_step_and_no_bits():
    zeros, ones = np.zeros(65, np.float32), np.ones(65, np.float32)
    planes, steps, sums = reference.query_planes(zeros, ones, 65, 4)
    assert not planes.any()
    assert not steps.any()
    assert not sums.any()


@law
@given(st.lists(st.integers(-3, 3), max_size=40), st.integers(1, 45), seeds)
def test_select_top_is_sorting(values, keep, seed):
    keys = np.random.default_rng(seed).permutation(len(values))
    order = sorted(range(len(values)), key=lambda i: (-values[i], keys[i]))
    chosen = reference.select_top(np.array(values, np.float64), keys, keep)
    assert chosen.tolist() == order[:keep]


@law
@given(seeds, dims, st.integers(-20, 14))
def test_dot_is_the_inner_product_up_to_the_rounding_of_its_sums(seed, dim, exponent):
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((2, dim)).astype(np.float32) * np.float32(10.0**exponent)
    products = left.astype(np.float64) * right.astype(np.float64)
    # A lane adds dim/8 products, then 8 lanes are added; each addition rounds by half a ulp.
    bound = (-(-dim // 8) + 8) * 2.0**-53 * math.fsum(np.abs(products))
    assert abs(reference.dot(left, right) - math.fsum(products)) <= bound


@law
@given(seeds, dims)
def test_dot_of_small_whole_numbers_is_exact(seed, dim):
    left, right = np.random.default_rng(seed).integers(-9, 10, (2, dim))
    assert reference.dot(left.astype(np.float32), right.astype(np.float32)) == left @ right


@pytest.mark.parametrize("levels", [1, 2, 4, 16, 256])
def test_codes_count_steps_from_the_middle_and_end_at_the_outer_cells(levels):
    units = np.array([[-1e30, -levels, -1.5, -0.5, 0.0, 0.5, 1.5, levels, 1e30]], np.float32)
    ones = np.ones(units.shape[1], np.float32)
    codes = reference.quantize_residuals(
        units, ones[:1], ones, ones, np.full(len(ones), levels, np.int64)
    )
    expected = np.clip(np.floor(units.astype(float)) + levels // 2, 0, levels - 1)
    assert codes.tolist() == expected.tolist()


def test_a_row_without_length_has_the_code_above_zero():
    zeros, ones = np.zeros((1, 3), np.float32), np.ones(3, np.float32)
    levels = np.full(3, 8)
    assert reference.quantize_residuals(zeros, zeros[0, :1], ones, ones, levels).tolist() == [
        [4, 4, 4]
    ]


def test_probing_goes_on_until_k_rows_are_found():
    scores = np.array([3, 5, 4, 2, 1], np.float32)
    counts = np.array([1, 0, 2, 9, 9])
    probed = [reference.probe_cells(scores, counts, 1, k).tolist() for k in (1, 3, 13, 21)]
    assert probed == [[1, 2], [1, 2, 0, 3], [1, 2, 0, 3, 4], [1, 2, 0, 3, 4]]


def test_equally_good_cells_are_probed_in_order():
    scores, counts = np.ones(5, np.float32), np.ones(5, np.int64)
    assert reference.probe_cells(scores, counts, 3, 1).tolist() == [0, 1, 2]


def test_a_block_of_rows_is_a_whole_number_of_cache_lines():
    assert LANES * np.dtype(np.uint64).itemsize % 64 == 0
