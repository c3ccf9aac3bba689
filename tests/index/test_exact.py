"""Exact search is brute force in float64, to the last bit; certified answers are the exact ones."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec import Index
from nestvec.errors import PlanError
from nestvec.index.search.segment_search import METRICS, search_by_bounds, search_plan
from nestvec.kernels import layout, load_exact, reference
from nestvec.plan import Plan

EVERY = np.empty(0, np.uint8)
FULL_SCAN = "probe=all; full"


# --- rows that make bounds hard ------------------------------------------------------------------


def normal(rng, n, dim):
    """No direction is special."""
    return rng.standard_normal((n, dim))


def falling(rng, n, dim):
    """Spread that falls by ten orders of magnitude from front to back."""
    return rng.standard_normal((n, dim)) * 10 ** (-10 * np.arange(dim) / dim)


def whole(rng, n, dim):
    """Small whole numbers: scores tie."""
    return rng.integers(-2, 3, (n, dim))


def duplicates(rng, n, dim):
    """A few different rows, many times."""
    return rng.standard_normal((3, dim))[rng.integers(0, 3, n)]


def near_ties(rng, n, dim):
    """One row, of which single entries are a unit in the last place off."""
    rows = np.tile(rng.standard_normal(dim).astype(np.float32), (n, 1))
    places = np.arange(n), rng.integers(0, dim, n)
    rows[places] = np.nextafter(rows[places], np.float32(np.inf) * rng.choice([-1, 1], n))
    return rows


def far(rng, n, dim):
    """Close together, far from the origin: rotating rounds by more than rows differ."""
    return 1e5 * rng.standard_normal(dim) + 1e-3 * rng.standard_normal((n, dim))


def huge(rng, n, dim):
    """As long as vectors may be."""
    return 1e15 * rng.uniform(-1, 1, (n, dim))


def tiny(rng, n, dim):
    """Below the normal range of float32."""
    return 1e-41 * rng.standard_normal((n, dim))


def mixed(rng, n, dim):
    """Huge, tiny and zero rows side by side."""
    return rng.standard_normal((n, dim)) * rng.choice([0, 1e-42, 1e-20, 1, 1e14], n)[:, None]


def sparse(rng, n, dim):
    """Mostly zeros: rows whose codes say nothing of them."""
    return rng.standard_normal((n, dim)) * (rng.random((n, dim)) < 2 / dim)


def strangers(rng, n, dim):
    """A few rows, the longest there are, in directions that no other has and so hardly any bits."""
    rows = rng.standard_normal((n, dim)) * (np.arange(dim) < 0.5 * dim)
    few = rng.random(n) < 0.05
    rows[few] = 1e15 * rng.choice([-1, 1], (few.sum(), dim)) * (np.arange(dim) >= 0.5 * dim)
    return rows


KINDS = [strangers, normal, falling, whole, duplicates, near_ties, far, huge, tiny, mixed, sparse]


def any_queries(rng, kind, vectors):
    """Some of the same kind, some of the rows themselves, a zero."""
    stored = vectors[rng.integers(0, len(vectors), 2)]
    with np.errstate(over="ignore"):
        other = kind(rng, 2, vectors.shape[1]).astype(np.float32)
    return np.concatenate([other, stored, -stored[:1], np.zeros_like(stored[:1])])


def built(tmp_path_factory, vectors, **options):
    return Index.build(vectors, tmp_path_factory.mktemp("exact") / "i.nv", **options)


def brute(queries, vectors, allowed, metric, k):
    """Rows and scores by definition."""
    answers = [reference.exact_one(q, vectors, allowed, METRICS[metric], k) for q in queries]
    return tuple(np.array(part) for part in zip(*answers, strict=True))


settled = settings(deadline=None, max_examples=40)
corpora = {
    "seed": st.integers(0, 2**32 - 1),
    "kind": st.sampled_from(KINDS),
    "n": st.sampled_from([1, 2, 17, 70, 200, 400]),
    "dim": st.sampled_from([1, 2, 5, 63, 64, 70, 130, 200]),
    "bits": st.sampled_from([0.5, 2.0, 3.3, 8.0]),
    "rotation": st.sampled_from(["pca", "none"]),
    "metric": st.sampled_from(["ip", "cosine", "euclidean"]),
}


@settled
@given(**corpora)
def test_exact_search_is_brute_force(tmp_path_factory, seed, kind, n, dim, bits, rotation, metric):
    rng = np.random.default_rng(seed)
    vectors = kind(rng, n, dim).astype(np.float32)
    index = built(tmp_path_factory, vectors, metric=metric, rotation=rotation, bits=bits)
    queries = any_queries(rng, kind, vectors)
    k = int(rng.integers(1, min(n, 12) + 1))
    rows, scores = brute(queries, vectors, EVERY, metric, k)
    hits = index.search(queries, k, exact=True)
    assert (hits.rows == rows).all()
    assert (hits.scores == scores.astype(np.float32)).all()
    assert hits.certified.all()


@settled
@given(**corpora)
def test_an_answer_is_certified_just_when_it_is_the_exact_one(
    tmp_path_factory, seed, kind, n, dim, bits, rotation, metric
):
    rng = np.random.default_rng(seed)
    vectors = kind(rng, n, dim).astype(np.float32)
    index = built(tmp_path_factory, vectors, metric=metric, rotation=rotation, bits=bits)
    queries = any_queries(rng, kind, vectors)
    k = int(rng.integers(1, min(n, 12) + 1))
    rows, _ = brute(queries, vectors, EVERY, metric, k)
    for plan in ("probe=1; full", f"probe=1; {dim}x8:{k} > full"):
        hits = index.search(queries, k, plan=plan, certify=True)
        approximate = index.search(queries, k, plan=plan)
        assert (hits.rows == approximate.rows).all()
        assert (hits.scores == approximate.scores).all()
        assert (hits.certified == (hits.rows == rows).all(axis=1)).all()
        assert not approximate.certified.any()


@settled
@given(**corpora, share=st.sampled_from([0.0, 0.02, 0.5]), known=st.sampled_from(["no", "yes"]))
def test_bounds_find_every_allowed_row_that_reaches_the_floor(  # noqa: PLR0913
    tmp_path_factory, seed, kind, n, dim, bits, rotation, metric, share, known
):
    rng = np.random.default_rng(seed)
    vectors = kind(rng, n, dim).astype(np.float32)
    segment = (
        built(tmp_path_factory, vectors, metric=metric, rotation=rotation, bits=bits)
        .snapshot.parts[0]
        .coded
    )
    queries = any_queries(rng, kind, vectors)
    allowed = (rng.random(n) < share).astype(np.uint8)
    k = int(rng.integers(1, min(n, 12) + 1))
    rows, scores = brute(queries, vectors, allowed, metric, k)
    floors = scores[:, -1].copy() if known == "yes" else np.full(len(queries), -np.inf)
    answers, given_up = search_by_bounds(segment, queries, k, floors, None, allowed, metric)
    assert (answers.rows == rows).all()
    assert (answers.scores == scores).all()
    assert not given_up.any()


@settled
@given(**corpora)
def test_stored_lengths_and_errors_bound_the_rows(
    tmp_path_factory, seed, kind, n, dim, bits, rotation, metric
):
    rng = np.random.default_rng(seed)
    vectors = kind(rng, n, dim).astype(np.float32)
    segment = (
        built(tmp_path_factory, vectors, metric=metric, rotation=rotation, bits=bits)
        .snapshot.parts[0]
        .coded
    )
    cells = segment.cells
    rows, cell_ids = cells.rows, cells.cell_ids
    # 64 bits of mantissa and the range of exponents are enough: allowances are of float32's size.
    wide = vectors[rows].astype(np.longdouble)
    lengths = np.sqrt((wide**2).sum(axis=1))
    if metric == "cosine":
        wide /= np.where(lengths > 0, lengths, 1)[:, None]
        lengths = (lengths > 0).astype(float)
    assert (lengths <= segment.derived.longest).all()
    centroids = cells.steps[: len(cells.counts), None].astype(np.longdouble)
    centroids = centroids * layout.integer_centroids(cells)
    residuals = wide @ cells.rotation.astype(np.longdouble)
    read = min(dim, centroids.shape[1])
    residuals[:, :read] -= centroids[cell_ids][:, :read]
    blocks, lanes = np.divmod(slots_of(cells), layout.LANES)
    head_errors = cells.head_errors[blocks, :, lanes]
    head_errors = reference.from_bfloat16(head_errors)
    for stage, errors in enumerate((head_errors, cells.word_errors)):
        scale = cells.record_scale[:, None].astype(np.longdouble)
        left = residuals - scale * read_codes(segment, stage)
        bounds = layout.part_bounds(dim)
        parts = [left[:, a:b] for a, b in pairwise(bounds)]
        squares = np.stack([(part**2).sum(axis=1) for part in parts], axis=1)
        assert (np.sqrt(squares) <= errors).all()


def slots_of(cells):
    """Return the slot of each record in its primary cell."""
    firsts = np.concatenate([[0], np.cumsum(cells.counts)[:-1]])
    record_ids = np.arange(len(cells.rows))
    return layout.LANES * cells.starts[cells.cell_ids] + record_ids - firsts[cells.cell_ids]


def read_codes(segment, stage):
    """The float32 directions that the head (0) or all words (1) stand for."""
    codec, funnel = segment.codec, segment.codec.full_funnel
    part = slice(funnel.starts[stage], funnel.starts[stage + 1])
    total = np.zeros((len(segment.vectors), layout.GROUP * len(codec.bits)))
    for slot, group, weight in zip(
        funnel.word_slots[part], funnel.groups[part], funnel.coefficients[part], strict=True
    ):
        words = segment.cells.records[:, slot, None]
        bits = words >> np.arange(layout.GROUP, dtype=np.uint64) & np.uint64(1)
        first = layout.GROUP * group
        total[:, first : first + layout.GROUP] += float(weight) * (bits - 0.5)
    return total[:, : codec.dim].astype(np.float32) * codec.sigma


# --- what is asked -------------------------------------------------------------------------------


def test_a_full_scan_and_exact_search_agree(index, corpus):
    _, queries = corpus
    scan = index.search(queries, 20, plan="probe=all; full")
    for plan in (None, "probe=1; 64x1:20 > full"):
        exact = index.search(queries, 20, plan=plan, exact=True)
        assert (exact.rows == scan.rows).all()
        assert (exact.scores == scan.scores).all()
        assert exact.certified.all()
    assert not scan.certified.any()


def test_bounds_save_most_of_the_work(index, corpus):
    vectors, queries = corpus
    stages = {s.stage: s.rows for s in index.search(queries, 10, exact=True).stats.stages}
    every = len(queries) * len(vectors)
    assert stages["bounds by heads"] == every
    assert stages["bounds by all words"] < every
    assert stages["full, proof"] < every / 4


@pytest.mark.parametrize("options", [{"exact": True}, {"certify": True}])
def test_rows_that_were_scored_in_full_are_not_read_again_for_the_proof(tmp_path, options):
    vectors = np.random.default_rng(1).normal(size=(500, 16)).astype(np.float32)
    index = Index.build(vectors, tmp_path / "i.nv")
    hits = index.search(vectors[:3], 5, where="id < 100", **options)
    assert hits.certified.all()
    assert (hits.rows == index.search(vectors[:3], 5, where="id < 100", plan=FULL_SCAN).rows).all()
    assert sum(stage.rows for stage in hits.stats.stages) == 3 * 100


def test_right_and_wrong_answers_are_told_apart(index, corpus):
    vectors, queries = corpus
    segment = index.snapshot.parts[0].coded
    k = 10
    _, scores = brute(queries, vectors, EVERY, "ip", k)
    next_best = brute(queries, vectors, EVERY, "ip", k + 1)[1][:, -1]
    for floors, wrong in ((scores[:, -1], False), (next_best, True)):
        _, given_up = search_by_bounds(
            segment, queries, k, np.ascontiguousarray(floors), None, None, "ip", k - 1
        )
        assert (given_up == wrong).all()


def test_patience_gives_up_and_no_patience_does_not(index, corpus):
    _, queries = corpus
    segment = index.snapshot.parts[0].coded
    floors = np.full(len(queries), -1e9)
    _, given_up = search_by_bounds(segment, queries, 5, floors, None, None, "ip", 4)
    assert given_up.all()
    _, given_up = search_by_bounds(segment, queries, 5, floors)
    assert not given_up.any()


@pytest.mark.parametrize("option", ["exact", "certify"])
def test_a_plan_that_ends_in_estimates_proves_nothing(index, corpus, option):
    with pytest.raises(PlanError, match="end it with '> full'"):
        index.search(corpus[1], 5, plan="probe=all; 64x1:30", **{option: True})


def test_threads_do_not_change_what_is_exact(index, corpus):
    _, queries = corpus
    one, two = (index.search(queries, 10, exact=True, threads=t) for t in (1, 2))
    assert (one.rows == two.rows).all()
    assert one.stats == two.stats


def test_searching_exactly_never_compiles_a_second_kernel(index, corpus):
    _, queries = corpus
    frozen = queries.copy()
    frozen.flags.writeable = False
    index.search(frozen, 5, exact=True, threads=2)
    index.search(frozen[:, ::-1], 5, certify=True, where=None)
    search_plan(index.snapshot.parts[0].coded, queries, 3, Plan.parse("probe=1; full"))
    assert len(load_exact().exact_batch.signatures) == 1
