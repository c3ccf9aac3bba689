"""Every compiled kernel equals its definition to the last bit, ties included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.codes import Codec
from nestvec.kernels import load, reference
from nestvec.kernels.reference import GROUP, LANES, Cells
from nestvec.plan import Plan, Stage

law = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)
dims = st.sampled_from([1, 5, 63, 64, 65, 100, 128, 130, 200])
sizes = st.sampled_from([0, 1, 2, 15, 16, 17, 31, 63, 64, 65, 150])


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
@given(seeds, dims, st.sampled_from([4, 6]), st.sampled_from([0.0, 1.0, 1e-38, 1e15]))
def test_cutting_the_query_in_planes(seed, dim, count, scale):
    rng = np.random.default_rng(seed)
    query = (rng.integers(-7, 8, dim) / 2 * scale).astype(np.float32)
    sigma = rng.choice(np.array([1, 0.5, 0.3], np.float32), dim)
    width = int(rng.integers(1, dim + 1))
    groups = -(-dim // GROUP)
    planes = np.full((groups, reference.REFINE_PLANES), 7, np.uint64)
    steps, sums = np.full(groups, np.nan, np.float32), np.full(groups, 99)
    load()._query_planes(query, sigma, width, count, planes, steps, sums)
    expected = reference.query_planes(query, sigma, width, count)
    for ours, theirs in zip((planes[:, :count], steps, sums), expected, strict=True):
        assert (ours == theirs).all()


@law
@given(seeds, dims)
def test_inner_products(seed, dim):
    left, right = np.random.default_rng(seed).standard_normal((2, dim)).astype(np.float32)
    assert load()._dot(left, right, np.empty(8)) == reference.dot(left, right)


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
    compiled = load()
    values = INPUTS[kind](rng, n).astype(np.float64)
    for keys in (np.arange(n), np.arange(n)[::-1].copy(), rng.permutation(n)):
        for keep in sorted({0, 1, 2, n // 3, n - 1, n} & set(range(n + 1))):
            best = reference.select_top(values, keys, keep)
            v, k = values.copy(), keys.copy()
            compiled._select(v, k, n, keep)
            assert sorted(k[:keep]) == sorted(keys[best])
            assert sorted(k) == sorted(keys)  # moved, not lost
            compiled._sort(v, k, keep)
            assert (k[:keep] == keys[best]).all()
            assert (v[:keep] == values[best]).all()


def test_selecting_leaves_what_lies_beyond_the_count():
    values, keys = np.array([1.0, 2.0, 3.0, 9.0]), np.arange(4)
    load()._select(values, keys, 3, 1)
    assert (values[0], keys[0]) == (3.0, 2)
    assert (values[3], keys[3]) == (9.0, 3)


@law
@given(seeds, st.integers(1, 40), st.integers(1, 50), st.integers(1, 60))
def test_probing(seed, cells, probe, k):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-2, 3, cells).astype(np.float32)
    counts = rng.integers(0, 4, cells)
    values, keys = np.empty(cells), np.empty(cells, np.int64)
    probed = keys[: load()._probe(scores, counts, probe, k, values, keys)]
    assert (probed == reference.probe_cells(scores, counts, probe, k)).all()


# --- searching -----------------------------------------------------------------------------------


def whole_rows(rng, n, dim):
    """Small whole numbers, with equal rows and zero rows: estimates and scores tie often."""
    rows = rng.integers(-2, 3, (n, dim)).astype(np.float32)
    if n > 3:
        rows[rng.integers(0, n, n // 3)] = rows[0]
        rows[rng.integers(0, n, n // 5)] = 0
    return rows


def lay_out(vectors, centroids, owners, codec):
    """The coded rows of `vectors`, each in its owner's cell, as the kernels read them."""
    words, scale = codec.encode(vectors - centroids[owners])
    counts = np.bincount(owners, minlength=len(centroids))
    blocks = -(-counts // LANES)
    starts = np.concatenate([[0], np.cumsum(blocks)])
    room = LANES * starts[-1]
    rows, placed = np.full(room, -1, np.int32), np.full(room, np.nan, np.float32)
    every = np.full((room, words.shape[1]), 0xDEAD, np.uint64)  # empty places hold anything
    for cell in range(len(centroids)):
        mine = np.flatnonzero(owners == cell)
        places = LANES * starts[cell] + np.arange(len(mine))
        rows[places], placed[places], every[places] = mine, scale[mine], words[mine]
    head = every[:, codec.head].reshape(sum(blocks), LANES, len(codec.head)).transpose(0, 2, 1)
    return Cells(
        centroids=centroids,
        starts=starts,
        counts=counts,
        owners=np.repeat(np.arange(len(blocks), dtype=np.int32), blocks),
        rows=rows,
        scale=placed,
        head=np.ascontiguousarray(head),
        tail=np.ascontiguousarray(every[:, codec.tail]),
        sigma=codec.sigma,
    )


def any_plan(rng, codec, n, k, stages, full):
    """Rectangles of any size that hold at least one word; keeps that fall, some beyond `n`."""
    keeps = np.sort(rng.integers(max(k, 1), max(k, 1) + n + 3, stages))[::-1]
    chosen = []
    for keep in keeps.tolist():
        width, bits = int(rng.integers(1, codec.dim + 1)), int(rng.integers(1, 9))
        if len(codec._read(width, bits)) == 0:
            width = codec.dim
        chosen.append(Stage(width, bits, keep))
    return Plan(None, tuple(chosen), full or not stages)


def both(queries, scores, cells, funnel, vectors, probe, full, k):
    """What each twin answers: rows, scores and counts."""
    n, steps = len(queries), len(funnel.keeps) + 2
    rows, values = np.full((n, k), -9), np.full((n, k), np.nan)
    counts = np.full((n, steps), -9)
    load().search_batch(
        queries, queries, scores, cells, funnel, vectors, probe, full, k, rows, values, counts
    )
    ones = [
        reference.search_one(q, q, s, cells, funnel, vectors, probe, full, k)
        for q, s in zip(queries, scores, strict=True)
    ]
    return (rows, values, counts), tuple(np.array(part) for part in zip(*ones, strict=True))


@settings(deadline=None, max_examples=150)
@given(
    seed=seeds,
    dim=dims,
    n=sizes,
    cells=st.sampled_from([1, 2, 5]),
    bits=st.sampled_from([0.2, 1.0, 2.0, 3.7, 8.0]),
    stages=st.integers(0, 3),
    full=st.booleans(),
    whole=st.booleans(),
)
def test_searching(seed, dim, n, cells, bits, stages, full, whole):
    rng = np.random.default_rng(seed)
    vectors = whole_rows(rng, n, dim)
    if not whole:
        vectors += rng.standard_normal((n, dim)).astype(np.float32)
    centroids = rng.integers(-1, 2, (cells, dim)).astype(np.float32)
    owners = rng.integers(0, cells, n)
    codec = Codec.fit(vectors - centroids[owners], np.ones(dim), bits)
    laid = lay_out(vectors, centroids, owners, codec)
    k = int(rng.integers(1, n + 1)) if n else 0
    plan = any_plan(rng, codec, n, k, stages, full)
    queries = whole_rows(rng, 3, dim)
    queries[2] = 0  # every estimate and every score ties
    probe = int(rng.integers(1, cells + 1))
    ours, theirs = both(
        queries, queries @ centroids.T, laid, codec.funnel(plan), vectors, probe, plan.full, k
    )
    for name, a, b in zip(("rows", "scores", "counts"), ours, theirs, strict=True):
        assert (a == b).all(), (name, str(plan))


@pytest.mark.parametrize("values", ["equal", "rising", "ties"])
def test_a_scan_longer_than_its_buffers(values, rng):
    # Over 1,024 more rows than are kept: the threshold is renewed several times on the way.
    n, dim = 6000, 64
    vectors = np.ones((n, dim), np.float32)
    if values == "rising":
        vectors *= np.linspace(-1, 1, n, dtype=np.float32)[:, None]
    if values == "ties":
        vectors = rng.integers(-1, 2, (n, dim)).astype(np.float32)
    owners = np.sort(rng.integers(0, 7, n))
    centroids = rng.integers(-1, 2, (7, dim)).astype(np.float32)
    codec = Codec.fit(vectors - centroids[owners], np.ones(dim), 2.0)
    cells = lay_out(vectors, centroids, owners, codec)
    queries = np.concatenate([np.ones((1, dim)), whole_rows(rng, 2, dim)]).astype(np.float32)
    for text in ("probe=all; 64x1:20", "probe=all; 64x1:700 > 64x2:30 > full"):
        plan = Plan.parse(text)
        ours, theirs = both(
            queries, queries @ centroids.T, cells, codec.funnel(plan), vectors, 7, plan.full, 20
        )
        for a, b in zip(ours, theirs, strict=True):
            assert (a == b).all()


def test_stages_read_words_of_head_and_tail(rng):
    # What the law above relies on: its plans do reach both halves.
    residuals = whole_rows(rng, 100, 130)
    codec = Codec.fit(residuals, np.ones(130), 4.0)
    slots = codec.funnel(Plan.parse("probe=1; 130x4:10 > full")).slots
    assert (slots >= 0).any()
    assert (slots < 0).any()


def test_the_search_kernel_is_compiled_once():
    # Other types of arguments would be compiled anew, in the middle of somebody's search.
    assert len(load().search_batch.signatures) == 1
