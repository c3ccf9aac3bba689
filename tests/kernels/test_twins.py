"""Every compiled kernel equals its definition to the last bit, ties included."""

import llvmlite.binding as llvm
import numba as nb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.codes import Codec
from nestvec.index.build.kmeans import CellAssignment, Centroids
from nestvec.kernels import (
    dense,
    layout,
    load,
    load_exact,
    load_scores,
    ranking,
    reference,
    searching,
    simd,
)
from nestvec.kernels import tables as look_ups
from nestvec.kernels.layout import (
    COSINE,
    EUCLIDEAN,
    GROUP,
    IP,
    LANES,
    NARROW,
    PARTS,
    RECORD_TAIL,
    WIDE,
    Cells,
    centroid_bytes,
)
from nestvec.plan import Plan, Stage

law = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)
dims = st.sampled_from([1, 5, 63, 64, 65, 100, 128, 130, 200])
sizes = st.sampled_from([0, 1, 2, 15, 16, 17, 31, 63, 64, 65, 150])
EVERY = np.empty(0, np.uint8)


# --- coding --------------------------------------------------------------------------------------


@law
@given(seeds, dims, sizes, st.integers(0, 20))
def test_packing(seed, dim, n, count):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (n, dim), dtype=np.uint8)
    groups = rng.integers(0, -(-dim // GROUP), count)
    shifts = rng.integers(0, 8, count)
    packed = load().pack_words(codes, groups, shifts)
    assert packed.dtype == np.uint64
    assert (packed == reference.pack_words(codes, groups, shifts)).all()


@law
@given(seeds, dims, sizes, st.sampled_from([1.0, 1e-30, 1e15]), st.booleans())
def test_quantising(seed, dim, n, scale, whole):
    rng = np.random.default_rng(seed)
    residuals = (rng.standard_normal((n, dim)) * 3).astype(np.float32)
    if whole:
        residuals = np.rint(residuals)  # on the borders between cells
    residuals[rng.random(n) < 0.2] = 0
    residuals *= np.float32(scale)
    norms = np.linalg.norm(residuals.astype(np.float64), axis=1).astype(np.float32)
    if whole:
        norms = np.where(norms > 0, np.float32(scale), np.float32(0))
    sigma = rng.choice(np.array([0, 0.25, 1, 0.7], np.float32), dim)
    steps = rng.choice(np.array([0.5, 1, 1.5958], np.float32), dim)
    levels = 2 ** rng.integers(0, 9, dim)
    codes = load().quantize_residuals(residuals, norms, sigma, steps, levels)
    assert codes.dtype == np.uint8
    assert (codes == reference.quantize_residuals(residuals, norms, sigma, steps, levels)).all()


@law
@given(
    seeds,
    st.sampled_from([1, 2, 3, 17, 70, 300]),
    st.sampled_from([1, 5, 64]),
    st.sampled_from([1.0, 1e-25, 1e15]),
    st.booleans(),
)
def test_assigning_twice(seed, cells, width, scale, whole):
    rng = np.random.default_rng(seed)
    draw = (lambda n: rng.integers(-2, 3, (n, width))) if whole else any_rows(rng, width)
    vectors, centroids = ((scale * draw(n)).astype(np.float32) for n in (12, cells))
    vectors[:2] = centroids[0]  # no residual
    scores = vectors @ centroids.T - np.einsum("cd,cd->c", centroids, centroids) / 2
    first, second = np.full(12, -9), np.full(12, -9)
    nearest = min(64, cells)
    load().assign_twice(scores, vectors, centroids, nearest, first, second)
    expected = reference.assign_twice(scores, vectors, centroids, nearest)
    assert (first == expected[0]).all()
    assert (second == expected[1]).all()


@law
@given(
    seeds, st.sampled_from([1, 5, 64, 130, 400]), sizes, st.sampled_from([0.0, 1e-43, 1.0, 1e15])
)
def test_what_codes_leave(seed, dim, n, scale):
    rng = np.random.default_rng(seed)
    residuals = (scale * rng.standard_normal((n, dim))).astype(np.float32)
    codes = rng.integers(0, 256, (n, dim), dtype=np.uint8)
    values = rng.standard_normal((-(-dim // GROUP), 256)).astype(np.float32)
    sigma, scales = (rng.uniform(0, 2, size).astype(np.float32) for size in (dim, n))
    along = load().lengths_along(residuals, codes, values, sigma)
    assert (along == reference.lengths_along(residuals, codes, values, sigma)).all()
    bounds = layout.part_bounds(dim)
    rests = load().rests(residuals, codes, values, sigma, scales, bounds)
    expected = reference.rests(residuals, codes, values, sigma, scales)
    # NumPy adds up in another order: float64 sums of up to 400 squares.
    assert np.allclose(rests, expected, rtol=400 * 2.0**-53, atol=0)


def any_rows(rng, width):
    return lambda n: rng.standard_normal((n, width))


# --- what is done for each query -----------------------------------------------------------------


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
    whole = rng.integers(-127, 128, (count, width)).astype(np.int8)
    padded = -(-count // LANES) * LANES
    query = (rng.integers(-7, 8, width + behind) / 2 * scale).astype(np.float32)
    steps, priors, spreads = rng.standard_normal((3, padded)).astype(np.float32)
    sigma = rng.choice(np.array([1, 0.5, 0.3], np.float32), width + behind)
    centroids = centroid_bytes(whole)
    scores, ranks = np.full((2, padded), np.nan, np.float32)
    room = np.full(width + behind + 3, 77, np.int8)
    searching.score_cells(
        query, sigma, centroids, steps, priors, spreads, room, scores, ranks
    )  # fmt: skip
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
def test_the_values_of_words(seed, dim, count, narrow):
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
    """The compiled tables, as the kernels read them: entries, step, sum of all least."""
    planes = 1 if largest == NARROW else 2
    out = np.full((planes, len(values), 2, 2, 4, 16), 0xEE, np.uint8)
    room = np.full((16 * len(values), 16), np.nan)
    step, low = searching.fill_tables(values, largest, room, out)
    return out, step, low


def any_values(rng, kind, count):
    values = {
        "whole": lambda: rng.integers(-2, 3, (count, GROUP)),
        "normal": lambda: rng.standard_normal((count, GROUP)),
        "zero": lambda: np.zeros((count, GROUP)),
        "mixed": lambda: rng.standard_normal((count, GROUP)) * 10.0 ** rng.integers(-30, 15),
        "positive": lambda: np.ones((count, GROUP)),
    }[kind]()
    return values.astype(np.float32)


KINDS = ["whole", "normal", "zero", "mixed", "positive"]


@law
@given(seeds, st.integers(1, 12), st.sampled_from(KINDS), st.sampled_from([NARROW, WIDE]))
def test_filling_tables(seed, count, kind, largest):
    values = any_values(np.random.default_rng(seed), kind, count)
    out, step, low = tables_of(values, largest)
    entries, *expected = reference.tables(values, largest)
    whole = sum(plane.astype(np.int64) << 7 * p for p, plane in enumerate(out))
    # [word, half, nibble, byte, entry] here, nibble by nibble there.
    assert (whole.transpose(0, 1, 3, 2, 4).reshape(count, 16, 16) == entries).all()
    assert (step, low) == tuple(expected)


# --- what is done for many rows at once ----------------------------------------------------------


def compiled_table_sums(planes, shuffle):
    """A kernel that does nothing else."""
    sums_of = look_ups.make_table_sums(planes, shuffle)

    @nb.njit
    def run(head, block, tables, slots, sums, count):
        sums_of(head, block, tables, slots, sums, count)

    return run


@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("shuffle", [*look_ups.shuffles(), None], ids=str)
def test_table_sums_by_every_shuffle(shuffle, planes, rng):
    run, largest = compiled_table_sums(planes, shuffle), [NARROW, WIDE][planes - 1]
    for words, read in ((1, 1), (2, 1), (5, 5), (9, 4), (128, 128)):
        head = rng.integers(0, 256, (3, 8 * words, LANES), dtype=np.uint8)
        slots = np.sort(rng.choice(words, read, replace=False))
        for kind in ("normal", "whole", "most"):
            values = any_values(rng, "whole" if kind == "most" else kind, read)
            tables, _, _ = tables_of(values, largest)
            if kind == "most":
                tables[...] = NARROW  # seven bits in each plane: the largest sums
            whole = sum(plane.astype(np.int64) << 7 * p for p, plane in enumerate(tables))
            entries = whole.transpose(0, 1, 3, 2, 4).reshape(read, 16, 16)
            for block in range(3):
                sums = np.full(LANES, -9, np.int32)
                run(head, block * head[0].size, tables, slots, sums, read)
                rows = head[block].reshape(words, 8, LANES)[slots].reshape(8 * read, LANES).T
                assert (sums == reference.table_sums(np.ascontiguousarray(rows), entries)).all()


def compiled_byte_products(native):
    """A kernel that does nothing else."""
    products_of = dense.make_byte_products(native)

    @nb.njit
    def run(codes, place, query, sums, count):
        products_of(codes, place, query, sums, count)

    return run


NATIVE = [False, True] if llvm.get_host_cpu_features().get("avx512vnni") else [False]


@pytest.mark.parametrize("native", NATIVE)
def test_byte_products(native, rng):
    run = compiled_byte_products(native)
    for fours in (1, 2, 3, 8, 65):
        codes = rng.integers(0, 256, (2, fours, LANES, 4), dtype=np.uint8)
        query = rng.integers(-127, 128, 4 * fours).astype(np.int8)
        for extreme in (False, True):
            if extreme:
                codes[...], query[...] = 255, -127
            for block in range(2):
                sums = np.full(LANES, -9, np.int32)
                run(codes, block * codes[0].size, query, sums, fours)
                rows = codes[block].transpose(1, 0, 2).reshape(LANES, 4 * fours)
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
def test_chosen_sums(native, rng):
    sum_of = simd.make_chosen_sum(native)
    run = nb.njit(lambda words, row, slots, values: sum_of(words, row, slots, values, len(slots)))
    rows = rng.integers(0, 2**64, (5, 9), dtype=np.uint64)
    rows[0], rows[1] = 0, 2**64 - 1
    for count in (1, 2, 9):
        slots = rng.permutation(9)[:count]
        whole = rng.integers(-(2**15), 2**15, (count, GROUP))
        planes = np.stack([whole & 255, whole >> 8 & 255]).astype(np.uint8)
        bits = rows[:, slots, None] >> np.arange(GROUP, dtype=np.uint64) & np.uint64(1)
        expected = (bits.astype(np.int64) * whole).sum(axis=(1, 2))
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
        reached, kept = run_comparisons(values, first, np.float32(threshold))
        some = values[first : first + LANES]
        bits = 1 << np.arange(LANES)
        assert reached == bits[some >= threshold].sum()
        assert kept == bits[~(some < threshold)].sum()


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


# --- keeping the best ----------------------------------------------------------------------------


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
def test_keeping_the_best_by_bisection(kind, n, rng):
    given_values = INPUTS[kind](rng, n).astype(np.float32)
    for keys in (np.arange(n, dtype=np.int32), rng.permutation(n).astype(np.int32)):
        for keep in sorted({1, 2, n // 3, n - 1, n, n + 1} - {0}):
            for first in (0, 5):
                room = first + n + 2 * LANES
                values, names = np.full(room, 7, np.float32), np.full(room, -7, np.int32)
                values[first : first + n], names[first : first + n] = given_values, keys
                left, floor = ranking.keep_best(values, names, first, n, keep)
                best = reference.select_top(
                    given_values.astype(np.float64), keys.astype(np.int64), keep
                )
                assert left == len(best)
                assert sorted(names[first : first + left]) == sorted(keys[best])
                pairs = dict(zip(keys.tolist(), given_values.tolist(), strict=True))
                for value, name in zip(values[first:], names[first : first + left], strict=False):
                    assert pairs[int(name)] == value
                if keep < n:
                    assert given_values[best].min() >= floor
                    others = np.delete(given_values, best)
                    assert others.max() <= max(floor, given_values[best].min())
                else:
                    assert floor == -np.inf
                assert (values[:first] == 7).all()


def test_selecting_leaves_what_lies_beyond_the_count():
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
    seed, count, most, spread, roomier
):
    rng = np.random.default_rng(seed)
    room = 64 << roomier
    while room < 2 * count:
        room *= 2
    # Multiples of the table's size times 2^7 fall on few slots: long runs of collisions.
    keys = rng.integers(0, most, count) * spread * 128
    values = rng.integers(-3, 4, count).astype(np.float64)
    best = {}
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):
        best[key] = max(value, best.get(key, value))
    table = np.full(room, -1, np.int64)
    kept = ranking.distinct(values, keys, count, table)
    assert dict(zip(keys[:kept].tolist(), values[:kept].tolist(), strict=True)) == best
    assert kept == len(best)
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
def test_probing(seed, cells, probe, k, levels, most):
    rng = np.random.default_rng(seed)
    ranks = rng.integers(0, levels, cells).astype(np.float32)
    counts = rng.integers(0, most, cells)
    room = cells + -cells % LANES
    values, keys = np.empty(room, np.float32), np.empty(room, np.int32)
    probed = keys[: ranking.probe_cells(ranks, counts, probe, k, values, keys)]
    expected = reference.probe_cells(ranks, counts, probe, k)
    assert sorted(probed) == sorted(expected)


# --- searching -----------------------------------------------------------------------------------


def whole_rows(rng, n, dim):
    """Small whole numbers, with equal rows and zero rows: estimates and scores tie often."""
    rows = rng.integers(-2, 3, (n, dim)).astype(np.float32)
    if n > 3:
        rows[rng.integers(0, n, n // 3)] = rows[0]
        rows[rng.integers(0, n, n // 5)] = 0
    return rows


def lay_out(rng, rotated, cells, codec, rotation, bias):
    """The rows in random cells, and where there are several in second ones, as kernels read them.

    What no search may look at holds anything.
    """
    n, dim = rotated.shape
    centroids = Centroids(
        rng.integers(-9, 10, (cells, min(dim, 70))).astype(np.int8),
        rng.choice(np.array([0.125, 0.25], np.float32), cells),
    )
    owners = rng.integers(0, cells, n)
    seconds = (owners + rng.integers(1, max(cells, 2), n)) % cells if cells > 1 else owners * 0 - 1
    filling = CellAssignment.of(owners, seconds, cells, LANES)
    slots = LANES * int(filling.rests[-1])
    records = rng.integers(0, 2**64, (n, len(codec.words) + RECORD_TAIL), dtype=np.uint64)
    records[:, -4:] = 0
    head = rng.integers(0, 256, (slots // LANES, 8 * len(codec.head), LANES), dtype=np.uint8)
    scale, slot_bias = np.full(slots, np.nan, np.float32), rng.standard_normal(slots)
    slot_bias = slot_bias.astype(np.float32)
    places = [(owners, filling.slots), (seconds, filling.second_slots)]
    for which, (owner, slot) in enumerate(places[: 1 + (cells > 1)]):
        rest = rotated.copy()
        rest[:, : centroids.whole.shape[1]] -= centroids.values()[owner]
        coded = codec.encode(rest, np.ones(n, np.float32))
        head[slot // LANES, :, slot % LANES] = coded.head
        scale[slot], slot_bias[slot] = coded.scale, bias
        if which == 0:
            records[filling.homes, :-RECORD_TAIL] = coded.words
            floats, ints = records.view(np.float32), records.view(np.int32)
            floats[filling.homes, -8], floats[filling.homes, -7] = coded.scale, bias
            ints[filling.homes, -6], ints[filling.homes, -5] = owner, np.arange(n)
    padded = -(-cells // LANES) * LANES
    steps = np.zeros(padded, np.float32)
    steps[:cells] = centroids.steps
    priors, spreads = rng.integers(-1, 2, (2, padded)).astype(np.float32)
    fours = -(-centroids.whole.shape[1] // 4)
    width = max(codec.width, min(dim, 4 * fours))
    return Cells(
        rotation=rotation, sigma=codec.sigma[:width], centroids=centroid_bytes(centroids.whole),
        steps=steps, priors=priors, spreads=spreads, starts=filling.starts,
        rests=filling.rests, counts=filling.counts,
        spills=filling.spills, firsts=np.concatenate([[0], np.cumsum(filling.counts)]),
        spill_firsts=np.concatenate([[0], np.cumsum(filling.spills)]),
        spill_homes=filling.spill_homes().astype(np.int32), scale=scale,
        bias=slot_bias if bias.any() else np.empty(0, np.float32), head=head,
        head_errors=np.zeros((int(filling.starts[-1]), PARTS, LANES), np.uint16), records=records,
        record_floats=records.view(np.float32), record_ints=records.view(np.int32),
    )  # fmt: skip


def any_stage(rng, codec, keep):
    """A rectangle of any size that holds a word: often the head or a part of it."""
    dims, bits = codec.head_rectangle
    choice = rng.integers(0, 3)
    if choice == 1:
        dims, bits = int(rng.integers(1, dims + 1)), int(rng.integers(1, bits + 1))
    if choice == 2:
        dims, bits = int(rng.integers(1, codec.dim + 1)), int(rng.integers(1, 9))
    if len(codec._read(dims, bits)) == 0:
        dims = codec.dim
    return Stage(dims, bits, keep)


def any_plan(rng, codec, n, k, stages, full):
    """Keeps that fall, some beyond `n`."""
    keeps = np.sort(rng.integers(max(k, 1), max(k, 1) + n + 3, stages))[::-1]
    chosen = tuple(any_stage(rng, codec, keep) for keep in keeps.tolist())
    return Plan(None, chosen, full or not stages)


def any_mask(rng, kind, n):
    """Which rows are allowed."""
    share = {"every": None, "most": 0.8, "few": 0.05, "none": 0.0}[kind]
    return EVERY if share is None else (rng.random(n) < share).astype(np.uint8)


def both(  # noqa: PLR0913
    queries, cells, funnel, vectors, allowed, metric, probe, full, k
):
    """What each twin answers: rows, scores and counts."""
    n, steps = len(queries), len(funnel.keeps) + 2
    rows, values = np.full((n, k), -9), np.full((n, k), np.nan)
    counts = np.full((n, steps), -9)
    vectors = vectors.view()
    for array in (*cells, vectors):
        array.flags.writeable = False  # as what is mapped
    load().search_batch(
        queries, cells, funnel, vectors, allowed, metric, probe, full, k, rows, values, counts
    )
    ones = [
        reference.search_one(q, cells, funnel, vectors, allowed, metric, probe, full, k)
        for q in queries
    ]
    return (rows, values, counts), tuple(np.array(part) for part in zip(*ones, strict=True))


@settings(deadline=None, max_examples=150)
@given(
    seed=seeds,
    dim=dims,
    n=sizes,
    cells=st.sampled_from([1, 2, 5, 20]),
    bits=st.sampled_from([0.2, 1.0, 2.0, 3.7, 8.0]),
    stages=st.integers(0, 3),
    full=st.booleans(),
    whole=st.booleans(),
    metric=st.sampled_from([IP, COSINE, EUCLIDEAN]),
    biased=st.booleans(),
    mask=st.sampled_from(["every", "most", "few", "none"]),
)
def test_searching(  # noqa: PLR0913
    seed, dim, n, cells, bits, stages, full, whole, metric, biased, mask
):
    rng = np.random.default_rng(seed)
    vectors = whole_rows(rng, n, dim)
    if not whole:
        vectors += rng.standard_normal((n, dim)).astype(np.float32)
    rotation = np.eye(dim, dtype=np.float32)[rng.permutation(dim)]
    rotated = vectors @ rotation
    codec = Codec.fit(rotated, np.ones(dim), bits)
    bias = (biased * rng.integers(-3, 3, n)).astype(np.float32)
    laid = lay_out(rng, rotated, cells, codec, rotation, bias)
    k = int(rng.integers(1, n + 1)) if n else 0
    plan = any_plan(rng, codec, n, k, stages, full)
    funnel = codec.funnel(plan)
    funnel = funnel._replace(keeps=np.minimum(funnel.keeps, n))
    queries = whole_rows(rng, 3, dim)
    queries[2] = 0  # every estimate and every score ties
    allowed = any_mask(rng, mask, n)
    probe = int(rng.integers(1, cells + 1))
    ours, theirs = both(queries, laid, funnel, vectors, allowed, metric, probe, plan.full, k)
    for name, a, b in zip(("rows", "scores", "counts"), ours, theirs, strict=True):
        assert (a == b).all(), (name, str(plan))


@pytest.mark.parametrize("values", ["equal", "rising", "ties"])
def test_a_scan_longer_than_its_buffers(values, rng):
    # Far more rows than the buffers hold: the threshold is renewed several times on the way.
    n, dim = 6000, 64
    vectors = np.ones((n, dim), np.float32)
    if values == "rising":
        vectors *= np.linspace(-1, 1, n, dtype=np.float32)[:, None]
    if values == "ties":
        vectors = rng.integers(-1, 2, (n, dim)).astype(np.float32)
    codec = Codec.fit(vectors, np.ones(dim), 2.0)
    zeros = np.zeros(n, np.float32)
    cells = lay_out(rng, vectors, 7, codec, np.eye(dim, dtype=np.float32), zeros)
    queries = np.concatenate([np.ones((1, dim)), whole_rows(rng, 2, dim)]).astype(np.float32)
    for text in ("probe=all; 64x1:20", "probe=all; 64x1:700 > 64x2:30 > full"):
        plan = Plan.parse(text)
        for allowed in (EVERY, any_mask(rng, "few", n)):
            ours, theirs = both(
                queries, cells, codec.funnel(plan), vectors, allowed, IP, 7, plan.full, 20
            )
            for a, b in zip(ours, theirs, strict=True):
                assert (a == b).all()


def test_a_batch_longer_than_a_tile_answers_as_its_queries_do_alone(rng):
    # Queries of one tile share the reading of cells; alone, each reads its own.
    n, dim = 900, 130
    vectors = rng.standard_normal((n, dim)).astype(np.float32)
    codec = Codec.fit(vectors, np.ones(dim), 2.0)
    cells = lay_out(rng, vectors, 30, codec, np.eye(dim, dtype=np.float32), np.zeros(n, np.float32))
    for array in (vectors, *cells):
        array.flags.writeable = False  # as what is mapped
    count = searching.TILE + 37
    queries = rng.standard_normal((count, dim)).astype(np.float32)
    plan = Plan.parse("probe=7; 130x1:25 > 130x2:12 > full")
    funnel, found = codec.funnel(plan), []
    for size in (1, 2, count):
        rows, scores = np.empty((count, 10), np.int64), np.empty((count, 10))
        counts = np.empty((count, 4), np.int64)
        for first in range(0, count, size):
            part = slice(first, first + size)
            load().search_batch(
                queries[part], cells, funnel, vectors, EVERY, IP, 7, True, 10, rows[part],
                scores[part], counts[part],
            )  # fmt: skip
        found.append((rows, scores, counts))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert (a == b).all()


def test_first_stages_read_heads_and_beyond_them(rng):
    # What the law above relies on: its plans scan heads, parts of heads, and more than heads.
    codec = Codec.fit(whole_rows(rng, 100, 130), np.ones(130), 4.0)
    kinds = set()
    for _ in range(50):
        funnel = codec.funnel(Plan(None, (any_stage(rng, codec, 9),)))
        kinds.add((reference.scans_head(funnel), len(funnel.slots) < len(codec.head)))
    assert kinds >= {(True, False), (True, True), (False, False)}


def test_the_search_kernels_are_compiled_once():
    # Other types of arguments would be compiled anew, in the middle of somebody's search.
    assert len(load().search_batch.signatures) == 1
    assert len(load_exact().exact_batch.signatures) == 1


# --- all scores ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("n", [1, 2, 127, 128, 129, 2047, 2048, 3000])
def test_the_best_of_all_scores(kind, n, rng):
    scores = np.stack([INPUTS[kind](rng, n) for _ in range(3)]).astype(np.float32)
    scores[0, rng.integers(n)] = -np.inf
    for k in sorted({1, 10, 100, n // 2, n} & set(range(1, n + 1))):
        rows, best = np.empty((3, k), np.int64), np.empty((3, k), np.float32)
        load_scores().best_scores(scores, rows, best)
        expected = reference.best_scores(scores, k)
        assert (rows == expected[0]).all()
        assert (best == expected[1]).all()


@pytest.mark.parametrize("kind", INPUTS)
def test_counting_what_reaches_a_bar(kind, rng):
    scores = np.stack([INPUTS[kind](rng, 300) for _ in range(4)]).astype(np.float32)
    rows = rng.integers(4, size=50)
    bars = np.append(rng.choice(scores.reshape(-1), 48), [-np.inf, np.inf]).astype(np.float32)
    counts = np.empty(50, np.int64)
    load_scores().count_reaching(scores, rows, bars, counts)
    assert (counts == reference.count_reaching(scores, rows, bars)).all()
