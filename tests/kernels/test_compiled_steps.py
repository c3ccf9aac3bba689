"""Inner steps of the compiled backend equal their definitions to the last bit, ties included."""

import llvmlite.binding as llvm
import numba as nb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.kernels import dense, layout, ranking, reference, searching, simd
from nestvec.kernels import tables as look_ups
from nestvec.kernels.layout import (
    COSINE,
    EUCLIDEAN,
    GROUP,
    IP,
    LANES,
    NARROW,
    RECORD_TAIL,
    WIDE,
    Cells,
    centroid_bytes,
)

law = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)
dims = st.sampled_from([1, 5, 63, 64, 65, 100, 128, 130, 200])


# --- steps of each query -------------------------------------------------------------------------


@law
@given(seeds, dims, st.sampled_from([1.0, 1e-42, 1e15]), st.data())
def test_rotating(seed, dim, scale, data):
    rng = np.random.default_rng(seed)
    query = (rng.standard_normal(dim) * scale).astype(np.float32)
    rotation = rng.standard_normal((dim, dim)).astype(np.float32)
    width = data.draw(st.integers(1, dim))
    rotated = np.full(width, np.nan, np.float32)
    searching.rotate(query, rotation, rotated)
    assert (rotated == reference.rotate(query, rotation[:, :width])).all()


@law
@given(
    seeds,
    st.integers(1, 50),
    st.sampled_from([1, 2, 3, 4, 5, 63, 66]),
    st.sampled_from([0, 1, 70]),
    st.sampled_from([0.0, 1.0, 1e-42, 1e15]),
)
def test_scoring_cells(seed, count, width, behind, scale):
    rng = np.random.default_rng(seed)
    integer = rng.integers(-127, 128, (count, width)).astype(np.int8)
    padded = -(-count // LANES) * LANES
    query = (rng.integers(-7, 8, width + behind) / 2 * scale).astype(np.float32)
    steps, priors, spreads = rng.standard_normal((3, padded)).astype(np.float32)
    sigma = rng.choice(np.array([1, 0.5, 0.3], np.float32), width + behind)
    centroids = centroid_bytes(integer)
    scores, ranks = np.full((2, padded), np.nan, np.float32)
    entries = np.full(width + behind + 3, 77, np.int8)
    arrays = dense.CellArrays(centroids, steps, priors, spreads)
    searching.score_cells(query, sigma, arrays, entries, scores, ranks)
    nothing = dict.fromkeys(Cells._fields, np.empty(0))
    cells = Cells(**{
        **nothing, "centroids": centroids, "steps": steps, "priors": priors, "spreads": spreads,
        "sigma": sigma, "counts": np.ones(count, np.int64),
    })  # fmt: skip
    expected = reference.score_cells(query, cells)
    assert (scores[:count] == expected[0]).all()
    assert (ranks[:count] == expected[1]).all()


@law
@given(seeds, st.sampled_from([65, 130, 200]), st.integers(1, 6), st.booleans())
def test_word_values(seed, dim, count, narrow):
    rng = np.random.default_rng(seed)
    width = min(dim, 128) if narrow else dim
    rotated, sigma = rng.standard_normal((2, width)).astype(np.float32)
    groups = rng.integers(0, -(-width // GROUP), count)
    coefficients = rng.standard_normal(count).astype(np.float32)
    part = int(rng.integers(1, dim + 1))
    values = np.full((count, GROUP), np.nan, np.float32)
    shift = searching.word_values(rotated, sigma, part, groups, coefficients, values)
    blank = np.zeros(count, np.int64)
    funnel = layout.Funnel(
        np.array([part]), blank, np.array([0, count]), blank, blank, groups, coefficients
    )
    cells = Cells(**{**dict.fromkeys(Cells._fields, np.empty(0)), "sigma": sigma})
    expected = reference.word_values(rotated, cells, funnel, 0)
    assert (values == expected).all()
    assert shift == reference.shift_of(expected)


def tables_of(values, largest):
    """Compute the compiled tables, as the kernels read them: entries, step, sum of all least."""
    planes = 1 if largest == NARROW else 2
    out = np.full((planes, len(values), 2, 2, 4, 16), 0xEE, np.uint8)
    sums = np.full((16 * len(values), 16), np.nan)
    step, low = searching.fill_tables(values, largest, sums, out)
    return out, step, low


def any_values(rng, kind, count):
    values = {
        "integers": lambda: rng.integers(-2, 3, (count, GROUP)),
        "normal": lambda: rng.standard_normal((count, GROUP)),
        "zero": lambda: np.zeros((count, GROUP)),
        "mixed": lambda: rng.standard_normal((count, GROUP)) * 10.0 ** rng.integers(-30, 15),
        "positive": lambda: np.ones((count, GROUP)),
    }[kind]()
    return values.astype(np.float32)


KINDS = ["integers", "normal", "zero", "mixed", "positive"]


@law
@given(seeds, st.integers(1, 12), st.sampled_from(KINDS), st.sampled_from([NARROW, WIDE]))
def test_filling_tables(seed, count, kind, largest):
    values = any_values(np.random.default_rng(seed), kind, count)
    out, step, low = tables_of(values, largest)
    entries, *expected = reference.lookup_tables(values, largest)
    integer = sum(plane.astype(np.int64) << 7 * p for p, plane in enumerate(out))
    # [word, half, nibble, byte, entry] here, nibble by nibble there.
    assert (integer.transpose(0, 1, 3, 2, 4).reshape(count, 16, 16) == entries).all()
    assert (step, low) == tuple(expected)


# --- steps over many rows at once ----------------------------------------------------------------


def compiled_table_sums(planes, shuffle):
    """Compile a kernel that does nothing else."""
    sums_of = look_ups.make_table_sums(planes, shuffle)

    @nb.njit
    def run(head, block, tables, slots, sums, count):
        sums_of(head, block, tables, slots, sums, count)

    return run


@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("shuffle", [*look_ups.byte_shuffles(), None], ids=str)
def test_table_sums_by_every_shuffle(shuffle, planes, rng):
    run, largest = compiled_table_sums(planes, shuffle), [NARROW, WIDE][planes - 1]
    for words, read in ((1, 1), (2, 1), (5, 5), (9, 4), (128, 128)):
        head = rng.integers(0, 256, (3, 8 * words, LANES), dtype=np.uint8)
        slots = np.sort(rng.choice(words, read, replace=False))
        for kind in ("normal", "integers", "largest"):
            values = any_values(rng, "integers" if kind == "largest" else kind, read)
            tables, _, _ = tables_of(values, largest)
            if kind == "largest":
                tables[...] = NARROW  # seven bits in each plane: the largest sums
            integer = sum(plane.astype(np.int64) << 7 * p for p, plane in enumerate(tables))
            entries = integer.transpose(0, 1, 3, 2, 4).reshape(read, 16, 16)
            for block in range(3):
                sums = np.full(LANES, -9, np.int32)
                run(head, block * head[0].size, tables, slots, sums, read)
                rows = head[block].reshape(words, 8, LANES)[slots].reshape(8 * read, LANES).T
                assert (sums == reference.table_sums(np.ascontiguousarray(rows), entries)).all()


def compiled_byte_products(native):
    """Compile a kernel that does nothing else."""
    products_of = dense.make_byte_products(native)

    @nb.njit
    def run(codes, place, query, sums, count):
        products_of(codes, place, query, sums, count)

    return run


NATIVE = [False, True] if llvm.get_host_cpu_features().get("avx512vnni") else [False]


@pytest.mark.parametrize("native", NATIVE)
def test_byte_products(native, rng):
    run = compiled_byte_products(native)
    for quads in (1, 2, 3, 8, 65):
        codes = rng.integers(0, 256, (2, quads, LANES, 4), dtype=np.uint8)
        query = rng.integers(-127, 128, 4 * quads).astype(np.int8)
        for extreme in (False, True):
            if extreme:
                codes[...], query[...] = 255, -127
            for block in range(2):
                sums = np.full(LANES, -9, np.int32)
                run(codes, block * codes[0].size, query, sums, quads)
                rows = codes[block].transpose(1, 0, 2).reshape(LANES, 4 * quads)
                assert (sums == rows.astype(np.int64) @ query.astype(np.int64)).all()


@nb.njit
def run_selected_sum(words, row, slots, values):
    return simd.selected_sum(words, row, slots, values, len(slots))


@law
@given(seeds, st.integers(1, 9), st.sampled_from(KINDS))
def test_selected_sums(seed, words, kind):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 2**64, (5, words + RECORD_TAIL), dtype=np.uint64)
    rows[0], rows[1] = 0, 2**64 - 1
    slots = rng.permutation(words)[: int(rng.integers(1, words + 1))]
    values = any_values(rng, kind, len(slots))
    expected = reference.selected_sum(rows[:, slots], values)
    sums = [run_selected_sum(rows, row * rows.shape[1], slots, values) for row in range(5)]
    assert (np.array(sums, np.float32) == expected).all()


@pytest.mark.parametrize("native", NATIVE)
def test_selected_integer_sums(native, rng):
    sum_of = simd.make_selected_integer_sum(native)
    run = nb.njit(lambda words, row, slots, values: sum_of(words, row, slots, values, len(slots)))
    rows = rng.integers(0, 2**64, (5, 9), dtype=np.uint64)
    rows[0], rows[1] = 0, 2**64 - 1
    for count in (1, 2, 9):
        slots = rng.permutation(9)[:count]
        integers = rng.integers(-(2**15), 2**15, (count, GROUP))
        planes = np.stack([integers & 255, integers >> 8 & 255]).astype(np.uint8)
        bits = rows[:, slots, None] >> np.arange(GROUP, dtype=np.uint64) & np.uint64(1)
        expected = (bits.astype(np.int64) * integers).sum(axis=(1, 2))
        assert [run(rows, 9 * row, slots, planes) for row in range(5)] == expected.tolist()


at_least = simd.make_comparison(ordered=True)


@nb.njit
def run_comparisons(values, first, threshold):
    return at_least(values, first, threshold), simd.not_below(values, first, threshold)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -np.inf, np.inf, np.nan])
def test_comparing_sixteen_at_once(threshold, rng):
    values = rng.choice(np.array([-1, 0, 1, 2, np.nan, np.inf, -np.inf], np.float32), 3 * LANES)
    values[:7] = -1, -0.0, 1, 2, np.nan, np.inf, -np.inf
    for first in (0, 1, 17, 32):
        reached, not_below = run_comparisons(values, first, np.float32(threshold))
        lanes = values[first : first + LANES]
        bits = 1 << np.arange(LANES)
        assert reached == bits[lanes >= threshold].sum()
        assert not_below == bits[~(lanes < threshold)].sum()


# --- scores --------------------------------------------------------------------------------------


@law
@given(seeds, dims, st.sampled_from([0.0, 1.0, 1e-40, 1e15]))
def test_scores(seed, dim, scale):
    rng = np.random.default_rng(seed)
    query, row = rng.standard_normal((2, dim)).astype(np.float32)
    row *= np.float32(scale)
    lanes = np.empty(8)
    assert searching.dot(query, row, lanes) == reference.dot(query, row)
    assert searching.squared_distance(query, row, lanes) == reference.squared_distance(query, row)
    length = np.sqrt(reference.dot(query, query))
    for metric in (IP, COSINE, EUCLIDEAN):
        score = searching.full_score(query, length, row, metric, lanes)
        assert score == reference.full_score(query, row, metric)


# --- selecting the best --------------------------------------------------------------------------


INPUTS = {
    "ties": lambda rng, n: rng.integers(0, 3, n),
    "sorted": lambda rng, n: np.arange(n),
    "reversed": lambda rng, n: -np.arange(n),
    "equal": lambda rng, n: np.zeros(n),
    "distinct": lambda rng, n: rng.permutation(n),
    "organ pipe": lambda rng, n: -np.abs(np.arange(n) - n // 2),
    "infinite": lambda rng, n: rng.choice([-np.inf, 0, np.inf], n),
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 200, 4000])
def test_selecting_and_sorting(kind, n, rng):
    values = INPUTS[kind](rng, n).astype(np.float64)
    for keys in (np.arange(n), np.arange(n)[::-1].copy(), rng.permutation(n)):
        for keep in sorted({0, 1, 2, n // 3, n - 1, n} & set(range(n + 1))):
            best = reference.select_top(values, keys, keep)
            v, k = values.copy(), keys.copy()
            ranking.select(v, k, n, keep)
            assert sorted(k[:keep]) == sorted(keys[best])
            assert sorted(k) == sorted(keys)  # moved, not lost
            ranking.sort(v, k, keep)
            assert (k[:keep] == keys[best]).all()
            assert (v[:keep] == values[best]).all()


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("n", [1, 2, 3, 15, 16, 17, 200, 4000])
def test_selecting_float32_by_bisection(kind, n, rng):
    inputs = INPUTS[kind](rng, n).astype(np.float32)
    for keys in (np.arange(n, dtype=np.int32), rng.permutation(n).astype(np.int32)):
        for keep in sorted({1, 2, n // 3, n - 1, n, n + 1} - {0}):
            for first in (0, 5):
                size = first + n + 2 * LANES
                values, names = np.full(size, 7, np.float32), np.full(size, -7, np.int32)
                values[first : first + n], names[first : first + n] = inputs, keys
                n_kept, floor = ranking.select_float32(values, names, first, n, keep)
                best = reference.select_top(inputs.astype(np.float64), keys.astype(np.int64), keep)
                assert n_kept == len(best)
                assert sorted(names[first : first + n_kept]) == sorted(keys[best])
                pairs = dict(zip(keys.tolist(), inputs.tolist(), strict=True))
                for value, name in zip(values[first:], names[first : first + n_kept], strict=False):
                    assert pairs[int(name)] == value
                if keep < n:
                    assert inputs[best].min() >= floor
                    others = np.delete(inputs, best)
                    assert others.max() <= max(floor, inputs[best].min())
                else:
                    assert floor == -np.inf
                assert (values[:first] == 7).all()


def test_selecting_leaves_entries_beyond_the_count_alone():
    values, keys = np.array([1.0, 2.0, 3.0, 9.0]), np.arange(4)
    ranking.select(values, keys, 3, 1)
    assert (values[0], keys[0]) == (3.0, 2)
    assert (values[3], keys[3]) == (9.0, 3)


@law
@given(
    seeds,
    st.integers(0, 300),
    st.sampled_from([3, 100, 10**6]),
    st.sampled_from([1, 64, 1024]),
    st.sampled_from([0, 1, 2]),
)
def test_of_equal_keys_the_best_value_stays_and_the_table_is_left_empty(
    seed, count, limit, spread, doublings
):
    rng = np.random.default_rng(seed)
    size = 64 << doublings
    while size < 2 * count:
        size *= 2
    # Multiples of the table's size times 2^7 fall on few slots: long runs of collisions.
    keys = rng.integers(0, limit, count) * spread * 128
    values = rng.integers(-3, 4, count).astype(np.float64)
    best = {}
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):
        best[key] = max(value, best.get(key, value))
    table = np.full(size, -1, np.int64)
    n_keys = ranking.deduplicate(values, keys, count, table)
    assert dict(zip(keys[:n_keys].tolist(), values[:n_keys].tolist(), strict=True)) == best
    assert n_keys == len(best)
    assert (table == -1).all()


@law
@given(
    seeds,
    st.sampled_from([1, 2, 15, 16, 17, 40, 255, 256, 300, 1000, 2500]),
    st.integers(1, 300),
    st.integers(1, 400),
    st.sampled_from([2, 50, 10**6]),
    st.sampled_from([1, 4, 40]),
)
def test_probing(seed, cells, probe, k, levels, max_rows):
    rng = np.random.default_rng(seed)
    ranks = rng.integers(0, levels, cells).astype(np.float32)
    counts = rng.integers(0, max_rows, cells)
    size = cells + -cells % LANES
    values, keys = np.empty(size, np.float32), np.empty(size, np.int32)
    probed = keys[: ranking.probe_cells(ranks, counts, probe, k, values, keys)]
    expected = reference.probe_cells(ranks, counts, probe, k)
    assert sorted(probed) == sorted(expected)
