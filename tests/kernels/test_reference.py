"""Each definition equals a plainer way to compute the same."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.kernels import layout, reference
from nestvec.kernels.layout import COSINE, EUCLIDEAN, GROUP, IP, LANES, NARROW, PARTS, WIDE

law = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)
dims = st.sampled_from([1, 5, 63, 64, 65, 100, 128, 130])
ALL = np.empty(0, np.uint8)


def set_bits(words):
    """Put bit i of each word into column i."""
    return words[..., None] >> np.arange(GROUP, dtype=np.uint64) & np.uint64(1)


# --- codes ---------------------------------------------------------------------------------------


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


# --- errors --------------------------------------------------------------------------------------


@law
@given(st.integers(1, 5000))
def test_parts_share_out_the_dimensions_in_whole_groups(dim):
    bounds = layout.part_bounds(dim)
    assert len(bounds) == PARTS + 1
    assert (bounds[0], bounds[-1]) == (0, dim)
    assert (np.diff(bounds) >= 0).all()
    assert all(bound % GROUP == 0 or bound == dim for bound in bounds)


@law
@given(seeds, st.sampled_from([1, 64, 65, 200, 500]))
def test_the_squares_of_part_norms_add_up_to_that_of_the_row(seed, dim):
    rows = np.random.default_rng(seed).integers(-9, 10, (3, dim)).astype(np.float64)
    norms = reference.part_norms(rows, layout.part_bounds(dim))
    assert norms.shape == (3, PARTS)
    assert np.rint(norms**2).sum(axis=1).tolist() == np.square(rows).sum(axis=1).tolist()


def test_rounding_up_gives_each_bfloat16_itself_and_what_is_above_it_the_next():
    bits = np.arange(0x7F7F, dtype=np.uint16)
    exact = reference.from_bfloat16(bits).astype(np.float64)
    assert (reference.bfloat16_up(exact) == bits).all()
    above = exact * (1 + 2.0**-50) + 2.0**-1000
    assert (reference.bfloat16_up(above) == bits + 1).all()


@law
@given(st.lists(st.floats(0, 1e38), min_size=1, max_size=20))
def test_rounding_up_gives_the_least_number_that_is_not_below(values):
    values = np.array(values)
    narrow = reference.float32_up(values)
    assert (narrow >= values).all()
    below = np.nextafter(narrow, np.float32(-1))
    assert ((below < values) | (narrow == 0)).all()
    bits = reference.bfloat16_up(values)
    assert (reference.from_bfloat16(bits) >= values).all()
    smaller = reference.from_bfloat16(np.maximum(bits, 1) - np.uint16(1))
    assert ((smaller < values) | (bits == 0)).all()


@law
@given(seeds, st.integers(0, 5), st.integers(1, 9))
def test_records_give_back_their_fields(seed, n, count):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, (n, count), dtype=np.uint64)
    scale, bias = rng.standard_normal((2, n)).astype(np.float32)
    cell_ids, rows = rng.integers(0, 2**31, (2, n))
    errors = rng.uniform(0, 9, (n, PARTS)).astype(np.float32)
    records = layout.pack_records(words, scale, bias, cell_ids, rows, errors)
    cells = some_cells(
        np.empty(0), 1,
        records=records, record_floats=records.view(np.float32),
        record_ints=records.view(np.int32),
    )  # fmt: skip
    assert (records[:, :count] == words).all()
    assert (cells.record_scale == scale).all()
    assert (cells.record_bias == bias).all()
    assert (cells.cell_ids == cell_ids).all()
    assert (cells.rows == rows).all()
    assert (cells.word_errors == errors).all()


# --- cells ---------------------------------------------------------------------------------------


@law
@given(seeds, st.integers(1, 40), st.integers(1, 70))
def test_centroids_come_back_from_their_layout(seed, count, width):
    integer = np.random.default_rng(seed).integers(-127, 128, (count, width)).astype(np.int8)
    laid = layout.centroid_bytes(integer)
    blocks, quads = -(-count // LANES), -(-width // 4)
    assert laid.shape == (blocks, quads, LANES, 4)
    cells = some_cells(laid, count)
    back = layout.integer_centroids(cells)
    assert (back[:, :width] == integer).all()
    assert not back[:, width:].any()


def some_cells(centroids, count, **fields):
    """Make cells that have only the arrays by which cells are chosen."""
    blank = dict.fromkeys(layout.Cells._fields, np.empty(0))
    counts = np.ones(count, np.int64)
    return layout.Cells(**{**blank, "centroids": centroids, "counts": counts, **fields})


@law
@given(seeds, st.integers(1, 40), st.sampled_from([1, 5, 64, 70]), st.sampled_from([0, 3, 40]))
def test_a_cell_score_is_the_inner_product_within_the_rounding_of_the_query(
    seed, count, width, behind
):
    rng = np.random.default_rng(seed)
    integer = rng.integers(-127, 128, (count, width)).astype(np.int8)
    padded = -(-count // LANES) * LANES
    steps, priors, spreads = rng.uniform(0, 2, (3, padded)).astype(np.float32)
    sigma = rng.uniform(0, 1, width + behind).astype(np.float32)
    cells = some_cells(
        layout.centroid_bytes(integer), count,
        steps=steps, priors=priors, spreads=spreads, sigma=sigma,
    )  # fmt: skip
    query = rng.standard_normal(width + behind).astype(np.float32)
    scores, ranks = reference.score_cells(query, cells)
    centroids = steps[:count, None] * integer.astype(float)
    truth = centroids @ query[:width].astype(float)
    read = 4 * -(-width // 4)  # groups of four, the last filled up with zeros
    half_step = np.abs(query[:read]).max() / 127 / 2
    bound = half_step * np.abs(centroids).sum(axis=1) * (1 + 1e-5) + 1e-5 * np.abs(truth)
    assert (np.abs(scores - truth) <= bound).all()
    deviation = math.sqrt(sum((query.astype(float) * sigma) ** 2))
    expected = scores + priors[:count] + layout.SPREAD_WEIGHT * deviation * spreads[:count]
    assert np.allclose(ranks, expected, rtol=1e-5, atol=1e-5)


def test_a_query_of_zeros_scores_every_cell_zero():
    cells = some_cells(
        np.full((1, 1, LANES, 4), 200, np.uint8), 3,
        steps=np.ones(LANES, np.float32), priors=np.zeros(LANES, np.float32),
        spreads=np.ones(LANES, np.float32), sigma=np.ones(4, np.float32),
    )  # fmt: skip
    scores, ranks = reference.score_cells(np.zeros(4, np.float32), cells)
    assert scores.tolist() == ranks.tolist() == [0, 0, 0]


def test_probing_goes_on_until_k_rows_are_found():
    ranks = np.array([3, 5, 4, 2, 1], np.float32)
    counts = np.array([1, 0, 2, 9, 9])
    probed = [reference.probe_cells(ranks, counts, 1, k).tolist() for k in (1, 3, 13, 21)]
    assert probed == [[1, 2], [1, 2, 0, 3], [1, 2, 0, 3, 4], [1, 2, 0, 3, 4]]


def test_equally_good_cells_are_probed_in_order():
    ranks, counts = np.ones(5, np.float32), np.ones(5, np.int64)
    assert reference.probe_cells(ranks, counts, 3, 1).tolist() == [0, 1, 2]


@law
@given(seeds, st.integers(2, 9), st.integers(1, 6))
def test_the_spill_cell_has_the_least_cost_of_all_but_the_nearest(seed, count, width):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-4, 5, (5, width)).astype(np.float32)
    centroids = rng.integers(-4, 5, (count, width)).astype(np.float32)
    scores = vectors @ centroids.T - np.square(centroids).sum(axis=1) / 2
    cell_ids, spill_cells = assign_with_spill(scores, vectors, centroids, count)
    for row, cell, spill in zip(vectors.tolist(), cell_ids, spill_cells, strict=True):
        residuals = [
            [Fraction(x - y) for x, y in zip(row, c, strict=True)] for c in centroids.tolist()
        ]
        squares = [inner(residual, residual) for residual in residuals]
        assert cell == squares.index(min(squares))
        costs = [
            square + Fraction(3, 2) * inner(residual, residuals[cell]) ** 2 / (squares[cell] or 1)
            for residual, square in zip(residuals, squares, strict=True)
        ]
        del costs[cell]
        cost = costs[spill - (spill > cell)]
        assert cell != spill
        # Only the quotient is rounded: these are small integers.
        assert cost <= min(costs) * (1 + Fraction(1, 2**21))


def assign_with_spill(scores, vectors, centroids, n_nearest):
    """Return the cells and the spill cells of some rows."""
    cells = np.full((2, len(vectors)), -9)
    reference.assign_with_spill(scores, vectors, centroids, n_nearest, *cells)
    return cells


def inner(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_rows_have_no_spill_cell_where_there_is_one_cell():
    ones = np.ones((3, 4), np.float32)
    cells = assign_with_spill(ones[:, :1], ones, ones[:1], 1)
    assert cells.tolist() == [[0, 0, 0], [-1, -1, -1]]


def test_the_longest_rows_have_spill_cells():
    rng = np.random.default_rng(0)
    vectors, centroids = ((1e15 * rng.uniform(-1, 1, (n, 20))).astype(np.float32) for n in (30, 5))
    scores = vectors @ centroids.T - np.square(centroids).sum(axis=1) / 2
    _, spill_cells = assign_with_spill(scores, vectors, centroids, 5)
    assert (spill_cells >= 0).all()


# --- estimates -----------------------------------------------------------------------------------


@law
@given(seeds, st.sampled_from([1, 5, 64, 130]))
def test_rotating_small_whole_numbers_is_a_matrix_product(seed, dim):
    rng = np.random.default_rng(seed)
    query = rng.integers(-9, 10, dim).astype(np.float32)
    rotation = rng.integers(-3, 4, (dim, dim)).astype(np.float32)
    assert (reference.rotate(query, rotation) == query @ rotation).all()


@law
@given(seeds, st.integers(1, 9), st.sampled_from([NARROW, WIDE]), st.booleans())
def test_table_entries_are_within_half_a_step_of_their_sums(seed, count, largest, integers):
    rng = np.random.default_rng(seed)
    values = (
        rng.integers(-3, 4, (count, GROUP)) if integers else rng.standard_normal((count, GROUP))
    )
    values = values.astype(np.float32)
    entries, step, lowest = reference.lookup_tables(values, largest)
    assert 0 <= entries.min() <= entries.max() <= largest
    quads = values.astype(float).reshape(count, 16, 1, 4)
    chosen = np.arange(16)[:, None] >> np.arange(4) & 1
    sums = (quads * chosen).sum(axis=3)
    lows = np.minimum(quads, 0).sum(axis=3)
    assert (np.abs(entries * step + lows - sums) <= step * (0.5 + 1e-9)).all()
    assert lowest == pytest.approx(lows.sum(), rel=1e-12)
    if values.any():
        assert entries.max() == largest


def test_tables_of_zeros_have_no_step():
    entries, step, lowest = reference.lookup_tables(np.zeros((2, GROUP), np.float32), NARROW)
    assert (entries.any(), step, lowest) == (False, 0.0, 0.0)


@law
@given(seeds, st.integers(1, 5), st.integers(0, 20))
def test_a_table_sum_adds_what_each_four_bits_name(seed, count, n):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, (n, count), dtype=np.uint64)
    entries = rng.integers(0, 128, (count, 16, 16))
    expected = [
        sum(
            int(entries[w, four, int(words[row, w]) >> 4 * four & 15])
            for w in range(count)
            for four in range(16)
        )
        for row in range(n)
    ]
    head = words.view(np.uint8).reshape(n, 8 * count)
    assert reference.table_sums(head, entries).tolist() == expected


@law
@given(seeds, st.integers(1, 9), st.integers(0, 20))
def test_a_selected_sum_is_the_plain_sum_over_set_bits(seed, count, n):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, (n, count), dtype=np.uint64)
    values = rng.integers(-9, 10, (count, GROUP)).astype(np.float32)
    expected = (set_bits(words) * values.astype(np.int64)).sum(axis=(1, 2))
    assert (reference.selected_sum(words, values) == expected).all()


def test_the_shift_takes_half_of_every_bit_off():
    values = np.arange(2 * GROUP, dtype=np.float32).reshape(2, GROUP)
    assert reference.shift_of(values) == -values.sum() / 2


# --- scores --------------------------------------------------------------------------------------


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
    a, b = rng.standard_normal((2, dim)).astype(np.float32) * np.float32(10.0**exponent)
    products = a.astype(np.float64) * b.astype(np.float64)
    # A lane adds dim/8 products, then 8 lanes are added; each addition rounds by half a ulp.
    bound = (-(-dim // 8) + 8) * 2.0**-53 * math.fsum(np.abs(products))
    assert abs(reference.dot(a, b) - math.fsum(products)) <= bound


@law
@given(seeds, dims)
def test_scores_of_small_whole_numbers_are_exact(seed, dim):
    a, b = np.random.default_rng(seed).integers(-9, 10, (2, dim))
    query, row = a.astype(np.float32), b.astype(np.float32)
    assert reference.dot(query, row) == a @ b
    assert reference.full_score(query, row, IP) == a @ b
    assert reference.full_score(query, row, EUCLIDEAN) == -np.square(a - b).sum()
    lengths = np.sqrt(float(a @ a)) * np.sqrt(float(b @ b))
    cosine = a @ b / lengths if lengths else 0.0
    assert reference.full_score(query, row, COSINE) == cosine


def test_the_cosine_with_a_zero_vector_is_zero():
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert reference.full_score(zeros, ones, COSINE) == 0.0
    assert reference.full_score(ones, zeros, COSINE) == 0.0
    assert reference.full_score(ones, ones * np.float32(1e-40), COSINE) == pytest.approx(1)


@pytest.mark.parametrize("metric", [IP, COSINE, EUCLIDEAN])
def test_the_exact_answer_is_sorted_and_equal_scores_go_to_the_smaller_row(metric):
    vectors = np.array([[1, 0], [0, 1], [1, 0], [2, 0], [0, 0]], np.float32)
    query = np.array([1, 0], np.float32)
    rows, scores = reference.exact_one(query, vectors, ALL, metric, 5)
    expected = {IP: [3, 0, 2, 1, 4], COSINE: [0, 2, 3, 1, 4], EUCLIDEAN: [0, 2, 3, 4, 1]}
    assert rows.tolist() == expected[metric]
    assert (np.diff(scores) <= 0).all()


def test_where_few_rows_are_allowed_the_exact_answer_is_filled_up():
    vectors = np.eye(4, dtype=np.float32)
    allowed = np.array([0, 1, 0, 1], np.uint8)
    rows, scores = reference.exact_one(vectors[3], vectors, allowed, IP, 3)
    assert rows.tolist() == [3, 1, -1]
    assert scores.tolist() == [1, 0, -np.inf]


# --- all scores ----------------------------------------------------------------------------------


def test_the_best_scores_are_in_order_and_ties_go_to_the_smaller_column():
    scores = np.array([[1, 3, 2, 3], [0, -np.inf, 0, 0]], np.float32)
    rows, best = np.empty((2, 3), np.int64), np.empty((2, 3), np.float32)
    reference.best_scores(scores, rows, best)
    assert rows.tolist() == [[1, 3, 2], [0, 2, 3]]
    assert best.tolist() == [[3, 3, 2], [0, 0, 0]]


def test_a_score_equal_to_the_threshold_reaches_it():
    scores = np.array([[1, 3, 2, 3], [0, -np.inf, 0, 0]], np.float32)
    counts, thresholds = np.empty(3, np.int64), np.array([3, 0, -9], np.float32)
    reference.count_reaching(scores, np.array([0, 1, 0]), thresholds, counts)
    assert counts.tolist() == [2, 3, 4]
