"""Each backend equals the definitions in `reference` to the last bit, ties included.

A further backend is one more line of `BACKENDS`. Inner steps of the compiled one have tests of
their own in test_compiled_steps.py.
"""

from inspect import signature

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.codes import Codec
from nestvec.index.build.kmeans import CellAssignment, Centroids
from nestvec.kernels import layout, load, load_exact, load_scoring, reference, searching
from nestvec.kernels.backend import (
    Backend,
    SearchOptions,
    SegmentArrays,
    SegmentBounds,
    SegmentPlan,
    TopK,
)
from nestvec.kernels.layout import (
    BIAS,
    CELL,
    COSINE,
    ERRORS,
    EUCLIDEAN,
    GROUP,
    IP,
    LANES,
    PARTS,
    RECORD_TAIL,
    ROW,
    SCALE,
    Cells,
    centroid_bytes,
    part_bounds,
)
from nestvec.plan import Plan, Stage

BACKENDS = {"compiled": load}
"""Functions that load the backends that have to be equal to the reference."""

ALL = np.empty(0, np.uint8)
"""The mask that allows all rows."""

law = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)
dims = st.sampled_from([1, 5, 63, 64, 65, 100, 128, 130, 200])
sizes = st.sampled_from([0, 1, 2, 15, 16, 17, 31, 63, 64, 65, 150])
metrics = st.sampled_from([IP, COSINE, EUCLIDEAN])
masks = st.sampled_from(["all", "most", "few", "none"])


@pytest.fixture(params=BACKENDS, scope="module")
def backend(request):
    """A backend that is compared with the reference."""
    return BACKENDS[request.param]()


@pytest.fixture(params=["reference", *BACKENDS], scope="module")
def any_backend(request):
    """A backend that is compared with the definitions for one query: the reference is one too."""
    return reference if request.param == "reference" else BACKENDS[request.param]()


def test_backends_have_the_functions_of_the_protocol(any_backend):
    names = [name for name in vars(Backend) if not name.startswith("_")]
    assert "search_batch" in names
    for name in names:
        _, *expected = signature(getattr(Backend, name)).parameters
        function = getattr(any_backend, name)
        assert [*signature(getattr(function, "py_func", function)).parameters] == expected, name


# --- coding --------------------------------------------------------------------------------------


@law
@given(seeds, dims, sizes, st.integers(0, 20))
def test_packing(backend, seed, dim, n, count):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (n, dim), dtype=np.uint8)
    groups = rng.integers(0, -(-dim // GROUP), count)
    shifts = rng.integers(0, 8, count)
    packed = backend.pack_words(codes, groups, shifts)
    assert packed.dtype == np.uint64
    assert (packed == reference.pack_words(codes, groups, shifts)).all()


@law
@given(seeds, dims, sizes, st.sampled_from([1.0, 1e-30, 1e15]), st.booleans())
def test_quantising(backend, seed, dim, n, scale, integers):
    rng = np.random.default_rng(seed)
    residuals = (rng.standard_normal((n, dim)) * 3).astype(np.float32)
    if integers:
        residuals = np.rint(residuals)  # on the borders between intervals
    residuals[rng.random(n) < 0.2] = 0
    residuals *= np.float32(scale)
    norms = np.linalg.norm(residuals.astype(np.float64), axis=1).astype(np.float32)
    if integers:
        norms = np.where(norms > 0, np.float32(scale), np.float32(0))
    sigma = rng.choice(np.array([0, 0.25, 1, 0.7], np.float32), dim)
    steps = rng.choice(np.array([0.5, 1, 1.5958], np.float32), dim)
    levels = 2 ** rng.integers(0, 9, dim)
    codes = backend.quantize_residuals(residuals, norms, sigma, steps, levels)
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
def test_assigning_with_spill(backend, seed, n_cells, width, scale, integers):
    rng = np.random.default_rng(seed)
    draw = (lambda n: rng.integers(-2, 3, (n, width))) if integers else any_rows(rng, width)
    vectors, centroids = ((scale * draw(n)).astype(np.float32) for n in (12, n_cells))
    vectors[:2] = centroids[0]  # no residual
    scores = vectors @ centroids.T - np.einsum("cd,cd->c", centroids, centroids) / 2
    nearest = min(64, n_cells)
    computed, expected = np.full((2, 12), -9), np.full((2, 12), -9)
    backend.assign_with_spill(scores, vectors, centroids, nearest, *computed)
    reference.assign_with_spill(scores, vectors, centroids, nearest, *expected)
    assert (computed == expected).all()


@law
@given(
    seeds, st.sampled_from([1, 5, 64, 130, 400]), sizes, st.sampled_from([0.0, 1e-43, 1.0, 1e15])
)
def test_decoding(backend, seed, dim, n, scale):
    rng = np.random.default_rng(seed)
    residuals = (scale * rng.standard_normal((n, dim))).astype(np.float32)
    codes = rng.integers(0, 256, (n, dim), dtype=np.uint8)
    values = rng.standard_normal((-(-dim // GROUP), 256)).astype(np.float32)
    sigma, scales = (rng.uniform(0, 2, size).astype(np.float32) for size in (dim, n))
    inner = backend.inner_with_decoded(residuals, codes, values, sigma)
    assert (inner == reference.inner_with_decoded(residuals, codes, values, sigma)).all()
    arguments = residuals, codes, values, sigma, scales, layout.part_bounds(dim)
    norms, expected = (b.residual_norms(*arguments) for b in (backend, reference))
    # NumPy adds up in another order: float64 sums of up to 400 squares.
    assert np.allclose(norms, expected, rtol=400 * 2.0**-53, atol=0)


def any_rows(rng, width):
    return lambda n: rng.standard_normal((n, width))


# --- segments ------------------------------------------------------------------------------------


def integer_rows(rng, n, dim):
    """Small integers, with equal rows and zero rows: estimates and scores tie often."""
    rows = rng.integers(-2, 3, (n, dim)).astype(np.float32)
    if n > 3:
        rows[rng.integers(0, n, n // 3)] = rows[0]
        rows[rng.integers(0, n, n // 5)] = 0
    return rows


def read_only(*arrays):
    """Make arrays read-only, as those of memory maps are."""
    for array in arrays:
        array.flags.writeable = False


def code_rows(rng, rotated, n_cells, codec, rotation, bias):
    """Put rows into random cells, and into random spill cells if there are several.

    Bytes that no kernel may look at hold anything.
    """
    n, dim = rotated.shape
    centroids = Centroids(
        rng.integers(-9, 10, (n_cells, min(dim, 70))).astype(np.int8),
        rng.choice(np.array([0.125, 0.25], np.float32), n_cells),
    )
    cell_ids = rng.integers(0, n_cells, n)
    spill_cells = np.full(n, -1)
    if n_cells > 1:
        spill_cells = (cell_ids + rng.integers(1, n_cells, n)) % n_cells
    assignment = CellAssignment.from_cells(cell_ids, spill_cells, n_cells, LANES)
    n_slots = LANES * int(assignment.overflow_starts[-1])
    records = rng.integers(0, 2**64, (n, len(codec.words) + RECORD_TAIL), dtype=np.uint64)
    head = rng.integers(0, 256, (n_slots // LANES, 8 * len(codec.head), LANES), dtype=np.uint8)
    scale, slot_bias = np.full(n_slots, np.nan, np.float32), rng.standard_normal(n_slots)
    slot_bias = slot_bias.astype(np.float32)
    head_errors = np.zeros((int(assignment.starts[-1]), PARTS, LANES), np.uint16)
    norms = np.linalg.norm(rotated.astype(np.float64), axis=1).astype(np.float32)
    places = [(cell_ids, assignment.slots), (spill_cells, assignment.spill_slots)]
    for i, (cells_of_rows, slots) in enumerate(places[: 1 + (n_cells > 1)]):
        residuals = rotated.copy()
        residuals[:, : centroids.whole.shape[1]] -= centroids.values()[cells_of_rows]
        coded = codec.encode(residuals, norms)
        head[slots // LANES, :, slots % LANES] = coded.head
        scale[slots], slot_bias[slots] = coded.scale, bias
        if i == 0:
            head_errors[slots // LANES, :, slots % LANES] = reference.bfloat16_up(coded.head_errors)
            ids, floats, ints = (
                assignment.record_ids,
                records.view(np.float32),
                records.view(np.int32),
            )
            records[ids, :-RECORD_TAIL] = coded.words
            floats[ids, SCALE], floats[ids, BIAS] = coded.scale, bias
            ints[ids, CELL], ints[ids, ROW] = cell_ids, np.arange(n)
            errors = slice(ERRORS, ERRORS + PARTS)
            floats[ids, errors] = reference.float32_up(coded.word_errors)
    padded = -(-n_cells // LANES) * LANES
    steps = np.zeros(padded, np.float32)
    steps[:n_cells] = centroids.steps
    priors, spreads = rng.integers(-1, 2, (2, padded)).astype(np.float32)
    quads = -(-centroids.whole.shape[1] // 4)
    width = max(codec.width, min(dim, 4 * quads))
    cells = Cells(
        rotation=rotation, sigma=codec.sigma[:width], centroids=centroid_bytes(centroids.whole),
        steps=steps, priors=priors, spreads=spreads, starts=assignment.starts,
        overflow_starts=assignment.overflow_starts, counts=assignment.counts,
        spill_counts=assignment.spill_counts,
        row_offsets=np.concatenate([[0], np.cumsum(assignment.counts)]),
        spill_row_offsets=np.concatenate([[0], np.cumsum(assignment.spill_counts)]),
        spill_record_ids=assignment.spill_record_ids().astype(np.int32), scale=scale,
        bias=slot_bias if bias.any() else np.empty(0, np.float32), head=head,
        head_errors=head_errors, records=records, record_floats=records.view(np.float32),
        record_ints=records.view(np.int32),
    )  # fmt: skip
    read_only(*cells)
    return cells


def segment_of(cells, vectors):
    """Combine cells and their vectors, read-only as on a disk."""
    vectors = vectors.view()
    read_only(vectors)
    return SegmentArrays(cells, vectors)


def segment_for_bounds(rng, vectors, n_cells, bits, metric):
    """Code vectors as the builder does for a metric, and compute what their bounds need."""
    n, dim = vectors.shape
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    rows = vectors
    if metric == COSINE:
        rows = (vectors / np.where(norms > 0, norms, 1)[:, None]).astype(np.float32)
        norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    bias = (-(norms**2) / 2 if metric == EUCLIDEAN else np.zeros(n)).astype(np.float32)
    rotation = np.eye(dim, dtype=np.float32)[rng.permutation(dim)]
    rotated = rows @ rotation
    codec = Codec.fit(rotated, np.ones(dim), bits)
    cells = code_rows(rng, rotated, n_cells, codec, rotation, bias)
    longest = float(norms.max(initial=0) * (1 + 2.0**-20))
    defect = reference.orthogonality_defect(rotation)
    bounds = SegmentBounds(codec.full_funnel, part_bounds(dim), longest, defect)
    return segment_of(cells, vectors), bounds


# --- searching by plans --------------------------------------------------------------------------


def any_stage(rng, codec, keep):
    """Draw a rectangle of any size that holds a word: often the head or a part of it."""
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
    """Draw a plan whose stages keep ever fewer rows, some of them more than `n`."""
    keep = np.sort(rng.integers(max(k, 1), max(k, 1) + n + 3, stages))[::-1]
    drawn = tuple(any_stage(rng, codec, n_rows) for n_rows in keep.tolist())
    return Plan(None, drawn, full or not stages)


def any_mask(rng, kind, n):
    """Draw a mask of allowed rows."""
    share = {"all": None, "most": 0.8, "few": 0.05, "none": 0.0}[kind]
    return ALL if share is None else (rng.random(n) < share).astype(np.uint8)


def search(backend, queries, segment, plan, options):
    """Search one batch by a backend: rows, scores and counts."""
    out = TopK.empty(len(queries), options.k, len(plan.funnel.keep) + 2)
    for array in out:
        array[:] = -9
    backend.search_batch(queries, backend.pack(segment), backend.pack(plan), options, out)
    return out


def search_by_definition(queries, segment, plan, options):
    """Search for each query by itself, by `reference.search_one`."""
    hits = [reference.search_one(query, segment, plan, options) for query in queries]
    return TopK(*(np.array(part) for part in zip(*hits, strict=True)))


def assert_equal(computed, expected, context=""):
    for name, a, b in zip(TopK._fields, computed, expected, strict=True):
        assert (a == b).all(), (name, context)


@settings(deadline=None, max_examples=150)
@given(
    seed=seeds,
    dim=dims,
    n=sizes,
    n_cells=st.sampled_from([1, 2, 5, 20]),
    bits=st.sampled_from([0.2, 1.0, 2.0, 3.7, 8.0]),
    stages=st.integers(0, 3),
    full=st.booleans(),
    integers=st.booleans(),
    metric=metrics,
    biased=st.booleans(),
    mask=masks,
)
def test_searching(  # noqa: PLR0913
    any_backend, seed, dim, n, n_cells, bits, stages, full, integers, metric, biased, mask
):
    rng = np.random.default_rng(seed)
    vectors = integer_rows(rng, n, dim)
    if not integers:
        vectors += rng.standard_normal((n, dim)).astype(np.float32)
    rotation = np.eye(dim, dtype=np.float32)[rng.permutation(dim)]
    rotated = vectors @ rotation
    codec = Codec.fit(rotated, np.ones(dim), bits)
    bias = (biased * rng.integers(-3, 3, n)).astype(np.float32)
    segment = segment_of(code_rows(rng, rotated, n_cells, codec, rotation, bias), vectors)
    k = int(rng.integers(1, n + 1)) if n else 0
    plan = any_plan(rng, codec, n, k, stages, full)
    funnel = codec.funnel(plan)
    funnel = funnel._replace(keep=np.minimum(funnel.keep, n))
    queries = integer_rows(rng, 3, dim)
    queries[2] = 0  # every estimate and every score ties
    options = SearchOptions(metric, k, any_mask(rng, mask, n))
    packed = SegmentPlan(funnel, int(rng.integers(1, n_cells + 1)), plan.full)
    computed = search(any_backend, queries, segment, packed, options)
    assert_equal(computed, search_by_definition(queries, segment, packed, options), str(plan))


@pytest.mark.parametrize("values", ["equal", "rising", "ties"])
def test_a_scan_longer_than_its_buffers(backend, values, rng):
    # Far more rows than the buffers hold: the threshold is renewed several times on the way.
    n, dim = 6000, 64
    vectors = np.ones((n, dim), np.float32)
    if values == "rising":
        vectors *= np.linspace(-1, 1, n, dtype=np.float32)[:, None]
    if values == "ties":
        vectors = rng.integers(-1, 2, (n, dim)).astype(np.float32)
    codec = Codec.fit(vectors, np.ones(dim), 2.0)
    rotation, bias = np.eye(dim, dtype=np.float32), np.zeros(n, np.float32)
    segment = segment_of(code_rows(rng, vectors, 7, codec, rotation, bias), vectors)
    queries = np.concatenate([np.ones((1, dim)), integer_rows(rng, 2, dim)]).astype(np.float32)
    for text in ("probe=all; 64x1:20", "probe=all; 64x1:700 > 64x2:30 > full"):
        plan = Plan.parse(text)
        packed = SegmentPlan(codec.funnel(plan), 7, plan.full)
        for allowed in (ALL, any_mask(rng, "few", n)):
            options = SearchOptions(IP, 20, allowed)
            computed = search(backend, queries, segment, packed, options)
            assert_equal(computed, search_by_definition(queries, segment, packed, options))


def test_a_batch_longer_than_a_tile_gets_the_hits_of_its_queries_alone(rng):
    # Queries of one tile share the reading of cells; alone, each reads its own.
    n, dim = 900, 130
    vectors = rng.standard_normal((n, dim)).astype(np.float32)
    codec = Codec.fit(vectors, np.ones(dim), 2.0)
    rotation, bias = np.eye(dim, dtype=np.float32), np.zeros(n, np.float32)
    segment = segment_of(code_rows(rng, vectors, 30, codec, rotation, bias), vectors)
    count = searching.TILE + 37
    queries = rng.standard_normal((count, dim)).astype(np.float32)
    plan = SegmentPlan(codec.funnel(Plan.parse("probe=7; 130x1:25 > 130x2:12 > full")), 7, True)
    options, batches = SearchOptions(IP, 10, ALL), []
    for size in (1, 2, count):
        parts = [
            search(load(), queries[start : start + size], segment, plan, options)
            for start in range(0, count, size)
        ]
        batches.append(TopK(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))))
    for batch in batches[1:]:
        assert_equal(batch, batches[0])


def test_first_stages_read_heads_and_beyond_them(rng):
    # The law above relies on this: its plans scan heads, parts of heads, and more than heads.
    codec = Codec.fit(integer_rows(rng, 100, 130), np.ones(130), 4.0)
    kinds = set()
    for _ in range(50):
        funnel = codec.funnel(Plan(None, (any_stage(rng, codec, 9),)))
        kinds.add((reference.uses_head_tables(funnel), len(funnel.word_slots) < len(codec.head)))
    assert kinds >= {(True, False), (True, True), (False, False)}


# --- exact search --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(
    seed=seeds,
    dim=dims,
    n=sizes,
    n_cells=st.sampled_from([1, 3, 20]),
    bits=st.sampled_from([0.2, 2.0, 8.0]),
    integers=st.booleans(),
    metric=metrics,
    mask=masks,
)
def test_searching_exactly(  # noqa: PLR0913
    any_backend, seed, dim, n, n_cells, bits, integers, metric, mask
):
    rng = np.random.default_rng(seed)
    vectors = integer_rows(rng, n, dim)
    if not integers:
        vectors += rng.standard_normal((n, dim)).astype(np.float32)
    segment, bounds = segment_for_bounds(rng, vectors, n_cells, bits, metric)
    queries = integer_rows(rng, 5, dim)
    queries[4] = 0  # every score ties
    k = int(rng.integers(1, n + 3))
    options = SearchOptions(metric, k, any_mask(rng, mask, n))
    exact = [reference.exact_one(q, vectors, options.allowed, metric, k) for q in queries]
    rows, scores = (np.array(part) for part in zip(*exact, strict=True))
    floors = any_floors(rng, scores)
    max_above = int(rng.integers(0, k + 1))
    computed = search_exactly(any_backend, queries, floors, segment, bounds, options, max_above)
    below = scores < floors[:, None]
    rows[below], scores[below] = -1, -np.inf
    abandoned = (scores > floors[:, None]).sum(axis=1) > max_above
    abandoned &= max_above < k
    assert (computed.counts[:, 3] == abandoned).all()
    assert (computed.rows[~abandoned] == rows[~abandoned]).all()
    assert (computed.scores[~abandoned] == scores[~abandoned]).all()


def any_floors(rng, scores):
    """Draw a floor for each query: none, one of its scores, or one that nothing reaches."""
    q, k = scores.shape
    floors = scores[np.arange(q), rng.integers(0, k, q)].copy()
    floors[rng.random(q) < 0.4] = -np.inf
    floors[rng.random(q) < 0.1] = 1e30
    return floors


def search_exactly(backend, queries, floors, segment, bounds, options, max_above):
    """Search one batch exactly by a backend: rows, scores and counts."""
    out = TopK.empty(len(queries), options.k, 4)
    for array in out:
        array[:] = -9
    packed = backend.pack(segment), backend.pack(bounds)
    backend.exact_batch(queries, floors, *packed, options, max_above, out)
    return out


def test_bounds_leave_rows_out_and_count_the_work(rng):
    n, dim, k = 3000, 128, 5
    # Far larger than the random centroids, so that the codes suit the residuals.
    vectors = (9 * rng.standard_normal((n, dim))).astype(np.float32)
    segment, bounds = segment_for_bounds(rng, vectors, 9, 8.0, IP)
    queries, options = vectors[:20] + np.float32(0.01), SearchOptions(IP, k, ALL)
    floors = np.sort(queries.astype(float) @ vectors.T.astype(float))[:, -2 * k].copy()
    out = search_exactly(load_exact(), queries, floors, segment, bounds, options, k)
    assert (out.counts[:, 0] == n).all()
    by_words, in_full = out.counts[:, 1], out.counts[:, 2]
    assert (by_words >= in_full).all()
    assert by_words.mean() < n
    assert in_full.mean() < n / 20


@pytest.mark.parametrize("metric", [IP, COSINE, EUCLIDEAN])
@pytest.mark.parametrize("n", [0, 1, 40, 500])
def test_scoring_candidates(any_backend, metric, n, rng):
    vectors = integer_rows(rng, 600, 37)
    read_only(vectors)
    queries, candidates = integer_rows(rng, 4, 37), np.sort(rng.choice(600, n, replace=False))
    mask = np.zeros(600, np.uint8)
    mask[candidates] = 1
    for k in (1, 10, 60):
        out = TopK.empty(4, k, 1)
        any_backend.scan_batch(queries, vectors, candidates, metric, k, out)
        exact = [reference.exact_one(query, vectors, mask, metric, k) for query in queries]
        rows, scores = (np.array(part) for part in zip(*exact, strict=True))
        assert_equal(out, TopK(rows, scores, np.full((4, 1), n)))


@law
@given(seeds, st.integers(1, 30), st.sampled_from([0.0, 1e-7, 1e-3, 1.0]))
def test_orthogonality_defects(backend, seed, dim, noise):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    rotation = (rotation + noise * rng.standard_normal((dim, dim))).astype(np.float32)
    read_only(rotation)
    defect, expected = (b.orthogonality_defect(rotation) for b in (backend, reference))
    # Both are upper bounds, with sums in another order.
    assert defect == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_search_kernels_are_compiled_once():
    # Arguments of other types would be compiled anew, in the middle of somebody's search.
    assert len(load().search_batch.signatures) == 1
    assert len(load_exact().exact_batch.signatures) == 1
    assert len(load().pack.signatures) == 3


# --- all scores ----------------------------------------------------------------------------------


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
@pytest.mark.parametrize("n", [1, 2, 127, 128, 129, 2047, 2048, 3000])
def test_the_best_of_all_scores(backend, kind, n, rng):
    load_scoring()
    scores = np.stack([INPUTS[kind](rng, n) for _ in range(3)]).astype(np.float32)
    scores[0, rng.integers(n)] = -np.inf
    for k in sorted({1, 10, 100, n // 2, n} & set(range(1, n + 1))):
        computed, expected = (
            (np.empty((3, k), np.int64), np.empty((3, k), np.float32)) for _ in range(2)
        )
        backend.best_scores(scores, *computed)
        reference.best_scores(scores, *expected)
        assert (computed[0] == expected[0]).all()
        assert (computed[1] == expected[1]).all()


@pytest.mark.parametrize("kind", INPUTS)
def test_counting_the_scores_that_reach_a_threshold(backend, kind, rng):
    scores = np.stack([INPUTS[kind](rng, 300) for _ in range(4)]).astype(np.float32)
    rows = rng.integers(4, size=50)
    thresholds = np.append(rng.choice(scores.reshape(-1), 48), [-np.inf, np.inf])
    thresholds = thresholds.astype(np.float32)
    computed, expected = np.empty((2, 50), np.int64)
    backend.count_reaching(scores, rows, thresholds, computed)
    reference.count_reaching(scores, rows, thresholds, expected)
    assert (computed == expected).all()
