"""What a search answers, and that nothing but the question decides it."""

import gc
from concurrent.futures import ThreadPoolExecutor
from weakref import ref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec import Index, Plan
from nestvec.errors import InputError, PlanError, VectorsError
from nestvec.kernels import load
from nestvec.vectors import MAX_ENTRY

EXACT = "probe=all; full"
PLANS = [
    EXACT,
    "probe=5; full",
    "probe=8; 64x1:200 > full",
    "probe=8; 64x1:200 > 100x8:30",
    "probe=all; 100x1:500 > 64x4:100 > 100x8:40 > full",
    None,
]


def brute_force(queries, vectors, k):
    """The best rows by float64 inner product, equal ones by row, and their scores."""
    scores = queries.astype(float) @ vectors.T.astype(float)
    rows = np.array([np.lexsort((np.arange(len(vectors)), -line))[:k] for line in scores])
    return rows, np.take_along_axis(scores, rows, axis=1)


def same(a, b):
    """Equal rows, and scores to the last bit."""
    return (a.rows == b.rows).all() and (a.scores == b.scores).all() and (a.ids == b.ids).all()


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.sampled_from([1, 2, 16, 17, 64, 65, 120]),
    dim=st.sampled_from([1, 3, 64, 65, 130]),
    rotation=st.sampled_from(["pca", "none"]),
    bits=st.sampled_from([0.5, 2.0, 8.0]),
)
def test_a_full_scan_is_brute_force_with_ties_to_the_smaller_row(
    tmp_path_factory, seed, n, dim, rotation, bits
):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (n, dim)).astype(np.float32)
    vectors[rng.integers(0, n, n // 2)] = vectors[0]
    queries = rng.integers(-2, 3, (3, dim)).astype(np.float32)
    path = tmp_path_factory.mktemp("exact") / "i.nv"
    index = Index.build(vectors, path, rotation=rotation, bits=bits)
    k = int(rng.integers(1, n + 1))
    rows, scores = brute_force(queries, vectors, k)
    coded = f"probe=all; {rng.integers(1, dim + 1)}x1:{n} > {dim}x8:{n + 5} > full"
    everything = [EXACT, f"probe=all; {dim}x1:{n} > full", f"probe=1; {dim}x1:{n} > full"]
    for plan in everything[: 3 if k == n else 2]:
        hits = index.search(queries, k, plan=plan)
        assert (hits.rows == rows).all(), plan
        assert (hits.scores == scores).all(), plan
    with pytest.raises(PlanError, match="narrows"):
        index.search(queries, k, plan=coded)


def test_keeping_every_row_gives_the_exact_answer_whatever_the_stages(index, corpus):
    _, queries = corpus
    exact = index.search(queries, 10, plan=EXACT)
    for stages in ("100x8:3000", "64x1:3000 > 100x2:3000", "64x1:9999 > 64x2:3000 > 100x8:3000"):
        assert same(index.search(queries, 10, plan=f"probe=all; {stages} > full"), exact)


def test_scores_are_inner_products_rounded_to_float32(index, corpus):
    vectors, queries = corpus
    hits = index.search(queries, 10)
    exact = np.einsum("qd,qkd->qk", queries.astype(float), vectors[hits.rows].astype(float))
    # The sums are in float64; what is left is the rounding of the result.
    assert (np.abs(hits.scores - exact) <= np.abs(exact) * 2.0**-24 + 1e-12).all()
    assert hits.scores.dtype == np.float32


def test_the_default_plan_finds_nearly_all_of_the_exact_answer(index, corpus):
    vectors, queries = corpus
    exact, _ = brute_force(queries, vectors, 10)
    found = index.search(queries, 10).rows
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
    assert recall > 0.97


def test_a_stored_vector_finds_itself(index, corpus):
    vectors, _ = corpus
    assert (index.search(vectors[::50], 1).rows[:, 0] == np.arange(0, len(vectors), 50)).all()


@pytest.mark.parametrize("plan", PLANS)
def test_a_query_alone_is_answered_as_in_a_batch(index, corpus, plan):
    _, queries = corpus
    batch = index.search(queries, 10, plan=plan)
    for q in range(len(queries)):
        alone = index.search(queries[q : q + 1], 10, plan=plan)
        assert (alone.rows[0] == batch.rows[q]).all()
        assert (alone.scores[0] == batch.scores[q]).all()


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("threads", [2, 3, 64, None])
def test_the_number_of_threads_does_not_matter(index, corpus, plan, threads):
    _, queries = corpus
    one = index.search(queries, 10, plan=plan, threads=1)
    many = index.search(queries, 10, plan=plan, threads=threads)
    assert same(one, many)
    assert one.stats == many.stats


def test_threads_may_search_one_index_at_once(index, corpus):
    _, queries = corpus
    expected = index.search(queries, 10)
    with ThreadPoolExecutor(4) as pool:
        for hits in pool.map(lambda _: index.search(queries, 10), range(12)):
            assert same(hits, expected)


@pytest.mark.parametrize("plan", PLANS)
def test_a_reopened_index_answers_the_same(index, corpus, plan):
    _, queries = corpus
    reopened = Index.open(index.path, verify=True)
    assert same(reopened.search(queries, 10, plan=plan), index.search(queries, 10, plan=plan))


def test_a_plan_and_its_text_are_the_same_question(index, corpus):
    _, queries = corpus
    for plan in PLANS[:-1]:
        parsed = index.search(queries, 5, plan=Plan.parse(plan))
        assert same(parsed, index.search(queries, 5, plan=plan))
    assert same(index.search(queries, 5, plan=index.default_plan(5)), index.search(queries, 5))


def test_a_plan_that_is_known_does_not_excuse_a_wrong_question(index, corpus):
    plan, queries = "probe=1; 64x1:10 > full", corpus[1][:2]
    index.search(queries, 1, plan=plan)
    for k, error in ((True, InputError), (0, InputError), (11, PlanError)):
        for _ in range(2):
            with pytest.raises(error):
                index.search(queries, k, plan=plan)


def test_an_index_that_is_dropped_is_let_go_at_once(corpus, tmp_path):
    vectors, queries = corpus
    index = Index.build(vectors[:200], tmp_path / "i.nv")
    index.search(queries[:1])
    references = ref(index.snapshot), ref(index.snapshot.parts[0].coded)
    gc.disable()
    try:
        del index
        assert [each() for each in references] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_queries_of_another_dtype_are_converted(index, corpus, dtype):
    _, queries = corpus
    rounded = queries.astype(np.float16).astype(np.float32)
    assert same(index.search(rounded.astype(dtype), 5), index.search(rounded, 5))


def test_queries_may_be_read_only_strided_or_mapped(index, corpus, tmp_path):
    _, queries = corpus
    np.save(tmp_path / "queries.npy", queries)
    frozen = queries.copy()
    frozen.flags.writeable = False
    mapped = np.load(tmp_path / "queries.npy", mmap_mode="r")
    expected = index.search(queries, 5)
    for form in (frozen, mapped, np.asfortranarray(queries), queries.tolist()):
        form = np.asarray(form, np.float32) if isinstance(form, list) else form
        assert same(index.search(form, 5), expected)
    assert same(index.search(np.repeat(queries, 2, axis=0)[::2], 5), expected)


def test_searching_never_compiles_a_second_kernel(index, corpus):
    _, queries = corpus
    frozen = queries.copy()
    frozen.flags.writeable = False
    index.search(frozen, 5, plan=PLANS[3], threads=2)
    index.search(frozen[:, ::-1], 5, plan=EXACT)
    assert len(load().search_batch.signatures) == 1


def test_every_row_can_be_asked_for(index, corpus):
    vectors, queries = corpus
    hits = index.search(queries[:2], len(vectors), plan=EXACT)
    assert (np.sort(hits.rows, axis=1) == np.arange(len(vectors))).all()
    assert (np.diff(hits.scores, axis=1) <= 0).all()
    default = index.search(queries[:2], len(vectors))
    assert (np.sort(default.rows, axis=1) == np.arange(len(vectors))).all()


def test_probing_goes_on_until_k_rows_are_found(index, corpus):
    _, queries = corpus
    hits = index.search(queries, 1000, plan="probe=1; full")
    assert hits.rows.shape == (len(queries), 1000)
    assert all(len(set(rows)) == 1000 for rows in hits.rows.tolist())
    assert hits.stats.cells > len(queries)


@pytest.mark.parametrize(
    "options",
    [{}, {"exact": True}, {"certify": True}, {"where": "row < 900"}, {"plan": "probe=2; full"}],
    ids=str,
)
def test_no_query_has_no_answer(index, options):
    hits = index.search(np.empty((0, 100), np.float32), 7, **options)
    assert hits.rows.shape == hits.scores.shape == hits.ids.shape == (0, 7)
    assert len(hits) == 0


def test_hits_give_ids_texts_and_metadata_of_their_rows(index, corpus):
    _, queries = corpus
    hits = index.search(queries[:1], 5)
    documents = index.snapshot.documents(hits.rows[0])
    for id_, row, document in zip(hits.ids[0], hits.rows[0], documents, strict=True):
        assert id_ == document.id == f"id-{row}é"
        assert document.text == f"text {row}"
        assert document.metadata == {"row": row}


# --- what was read -------------------------------------------------------------------------------


def test_a_full_scan_reads_every_vector_once_per_query(index, corpus):
    vectors, queries = corpus
    stats = index.search(queries, 10, plan=EXACT).stats
    assert stats.queries == len(queries)
    assert stats.cells == len(queries) * len(index.snapshot.parts[0].coded.cells.counts)
    assert stats.probe_bytes == len(queries) * index.snapshot.parts[0].coded.cells.centroids.nbytes
    assert [(s.stage, s.rows, s.size_bytes) for s in stats.stages] == [
        ("full", len(queries) * len(vectors), len(queries) * vectors.nbytes)
    ]
    assert stats.size_bytes == stats.probe_bytes + len(queries) * vectors.nbytes


def test_each_stage_counts_the_rows_that_the_one_before_kept(index, corpus):
    vectors, queries = corpus
    plan = "probe=all; 64x1:200 > 100x8:30 > full"
    stages = index.search(queries, 10, plan=plan).stats.stages
    assert [s.stage for s in stages] == ["64x1:200", "100x8:30", "full"]
    scanned = 2 * len(vectors)  # every row lies in two cells
    assert [s.rows for s in stages] == [len(queries) * rows for rows in (scanned, 200, 30)]
    words = [1, len(index.snapshot.parts[0].coded.codec.words)]
    for stage, count in zip(stages[:2], words, strict=True):
        assert stage.size_bytes == stage.rows * (8 * count + 4)  # the words and the scale


def test_fewer_probed_cells_mean_fewer_rows(index, corpus):
    _, queries = corpus
    rows = [index.search(queries, 1, plan=f"probe={p}; full").stats.stages[0].rows for p in (1, 9)]
    assert 0 < rows[0] < rows[1]


# --- what may not be asked -----------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, -1, 10_001, True, 10**30])
def test_k_must_be_a_whole_number_from_one_to_ten_thousand_or_the_rows(index, corpus, k):
    with pytest.raises(InputError, match="from 1 to 10,000"):
        index.search(corpus[1], k)


@pytest.mark.door("k above the number of rows", "hits padded to k")
@pytest.mark.parametrize("options", [{}, {"exact": True}, {"certify": True}, {"where": "id > ''"}])
def test_hits_of_a_small_index_are_padded_to_k(tmp_path, options):
    index = Index.build(np.eye(3, dtype=np.float32), tmp_path / "i.nv", ids=["a", "b", "c"])
    index.add(2 * np.eye(3, dtype=np.float32)[:1], ids=["d"])
    hits = index.search(np.eye(3, dtype=np.float32)[:2], 10, **options)
    assert hits.rows.shape == hits.ids.shape == hits.scores.shape == (2, 10)
    assert [hit.id for hit in hits[0]][:2] == ["d", "a"]
    assert len(hits[0]) == len(hits[1]) == 4
    assert hits.ids[:, 4:].tolist() == [[None] * 6] * 2
    assert index.get(hits.ids[0])[4:] == [None] * 6


@pytest.mark.door("a search of an index without rows", "no hits")
@pytest.mark.parametrize("options", [{}, {"exact": True}, {"where": "id >= 0"}])
def test_an_empty_index_has_no_hits(tmp_path, options):
    index = Index.build(np.eye(3, dtype=np.float32), tmp_path / "i.nv")
    index.delete([0, 1, 2])
    for _ in range(2):
        hits = index.search(np.eye(3, dtype=np.float32)[:2], 5, **options)
        assert (hits.rows == -1).all() and hits.rows.shape == (2, 5)
        assert hits[1] == []
        assert hits.certified.tolist() == [options.get("exact", False)] * 2
        index.compact()


# --- dims in place of a plan ---------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 24, 64, 100])
def test_dims_limit_what_every_stage_reads(index, corpus, dims):
    hits = index.search(corpus[1], 10, dims=dims)
    assert all(stage.dims <= dims for stage in hits.plan.stages)
    assert hits.plan.full
    assert (hits.rows == index.search(corpus[1], 10, plan=hits.plan).rows).all()
    assert index.check_search(10, dims=dims) == hits.plan


def test_more_dims_find_more_and_all_of_them_what_the_default_plan_finds(index, corpus):
    exact = index.search(corpus[1], 10, exact=True).rows
    recalls = [
        (index.search(corpus[1], 10, dims=dims).rows[:, :, None] == exact[:, None]).any(2).mean()
        for dims in (2, 16, index.dim)
    ]
    assert recalls == sorted(recalls)
    every = index.search(corpus[1], 10, dims=index.dim)
    assert (every.rows == index.search(corpus[1], 10).rows).all()


@pytest.mark.door("search(dims=) beyond the vectors", "refused with the range")
@pytest.mark.parametrize("dims", [0, -3, 101, True])
def test_dims_outside_the_vectors_are_refused(index, corpus, dims):
    with pytest.raises(InputError, match="dims="):
        index.search(corpus[1], 10, dims=dims)


def test_dims_and_a_plan_exclude_each_other(index, corpus):
    with pytest.raises(InputError, match="pass one of the two"):
        index.search(corpus[1], 10, dims=8, plan="probe=all; full")


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_at_least_one(index, corpus, threads):
    with pytest.raises(InputError, match=f"threads={threads}"):
        index.search(corpus[1], threads=threads)


@pytest.mark.parametrize("plan", ["fast", "probe=0; full", "probe=all; 101x1:10 > full"])
def test_a_plan_that_does_not_fit_is_refused(index, corpus, plan):
    with pytest.raises(PlanError):
        index.search(corpus[1], plan=plan)


def test_a_plan_that_keeps_fewer_than_k_is_refused(index, corpus):
    with pytest.raises(PlanError, match="k=11"):
        index.search(corpus[1], 11, plan="probe=all; 64x1:10 > full")


def test_a_plan_may_ask_for_more_than_there_is(index, corpus):
    _, queries = corpus
    most = 10**18 - 1
    plan = f"probe={most}; 100x{most}:{most} > full"
    assert same(index.search(queries, 5, plan=plan), index.search(queries, 5, plan=EXACT))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 2 * MAX_ENTRY])
def test_queries_without_a_finite_answer_are_refused_by_row(index, corpus, wrong):
    queries = corpus[1].copy()
    queries[3, 9] = wrong
    with pytest.raises(VectorsError, match=r"queries\[3\]"):
        index.search(queries)


@pytest.mark.parametrize("wrong", [np.ones((2, 100), bool), np.ones((1, 2, 100), np.float32)])
def test_queries_of_another_rank_or_dtype_are_refused(index, wrong):
    with pytest.raises(VectorsError, match="queries have"):
        index.search(wrong)


def test_queries_of_another_width_are_refused(index):
    with pytest.raises(VectorsError, match="99 dimensions but 100 are needed"):
        index.search(np.ones((2, 99), np.float32))


@pytest.mark.parametrize("scale", [MAX_ENTRY, 1e-38, 0.0])
def test_huge_and_tiny_queries_are_answered_without_a_warning(index, corpus, scale):
    queries = (corpus[1] * scale).astype(np.float32)
    hits = index.search(queries, 10, plan=PLANS[4])
    assert np.isfinite(hits.scores).all()
    assert (np.diff(hits.scores, axis=1) <= 0).all()
