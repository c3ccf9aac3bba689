"""Fitting an adaptor: what it starts from, what it learns, and when it is left out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec import MatryoshkaAdaptor, Rotation, truncate
from nestvec.adapt import Linear
from nestvec.adapt.config import Recipe
from nestvec.adapt.evaluation import HeldOut, nearest
from nestvec.adapt.fitting import split_queries
from nestvec.adapt.full_width_completion import completed
from nestvec.adapt.initialization import (
    neighbour_whitening,
    settled,
    starting_point,
    stretched,
    teachers,
)
from nestvec.adapt.matryoshka_adaptor import Map
from nestvec.adapt.training_data import Judged, Material
from nestvec.errors import DataError, DimsError, IdsError, InputError, VectorsError
from nestvec.progress import silent
from nestvec.transforms.base import check_sizes

from .conftest import DIM

pytest.importorskip("torch")
QUICK = replace(Recipe.keeping(), steps=60, batch=64, learning_rate=1e-2)
LABELLED = Recipe(steps=60, learning_rate=1e-2)
EPS = 2.0**-24


@pytest.fixture
def skewed(rng):
    """Four far-off groups, which take the first principal directions and tell no neighbours."""
    spread = np.where(np.arange(16) < 4, 0.05, np.where(np.arange(16) < 8, 1, 0.15))
    rows = rng.standard_normal((600, 16)) * spread
    rows[np.arange(600), rng.integers(0, 4, 600)] += 3
    return (rows @ Rotation.random(16, 1).matrix).astype(np.float32)


def pairs_of_intents(rng, n, dim):
    """Rows of some intents in a few quiet dimensions, drowned by louder noise; pairs share one."""
    intents = rng.integers(0, 12, n)
    centres = np.zeros((12, dim))
    centres[:, -6:] = rng.standard_normal((12, 6))
    noise = rng.standard_normal((n, dim)) * np.where(np.arange(dim) < dim - 6, 1.2, 0.3)
    rows = (centres[intents] + noise).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), intents


def qrels_of(intents):
    rows = np.arange(len(intents))
    return {int(i): {int(j): 1 for j in rows[intents == intents[i]] if j != i} for i in rows}


# --- starts ---------------------------------------------------------------------------------------


FREE = Recipe(start="neighbours", teacher="start", orthogonal=False)


@pytest.mark.parametrize("recipe", [Recipe(), Recipe.keeping(), FREE, replace(FREE, hidden=5)])
def test_before_the_first_step_it_is_its_starting_point(recipe, vectors):
    from nestvec.adapt.training.loop import Task, train

    material = Material.read(vectors)
    start = starting_point(material, recipe, 0)
    task = Task(material, start, teachers(material, recipe, 0), (4, 8), recipe, 0, until=0)
    untouched = train(task, None, None, lambda step, value: None, silent).adaptor
    expected = Linear(start, np.zeros(DIM, np.float32)).transform(material.documents)
    assert np.allclose(
        untouched.transform(vectors), expected / np.linalg.norm(expected, axis=1, keepdims=True),
        atol=1e-5,
    )  # fmt: skip


def test_the_papers_adaptor_starts_at_the_identity(vectors):
    start = starting_point(Material.read(vectors), Recipe.paper(DIM), 0)
    assert (start == np.eye(DIM)).all()


def test_neighbour_whitening_puts_what_tells_neighbours_apart_first(rng):
    rows = pairs_of_intents(rng, 900, 24)[0]
    first = Linear.fit_neighbours(rows).matrix[:, 0]
    assert np.square(first[-6:]).sum() > np.square(Rotation.fit(rows).matrix[-6:, 0]).sum()


def test_teachers_are_the_vectors_their_neighbour_whitening_or_where_it_starts(rng):
    rows, intents = pairs_of_intents(rng, 200, 24)
    for material in (Material.read(rows), Material.read(rows, qrels_of(intents))):
        whitening = neighbour_whitening(material, Recipe(), 0)
        own, other = teachers(material, Recipe(teacher="both"), 0)
        assert (own == np.eye(24)).all()
        assert (other == whitening).all()
        assert (teachers(material, FREE, 0)[0] == whitening).all()
        assert len(teachers(material, Recipe.keeping(), 0)) == 1
        (stretch,) = teachers(material, Recipe(teacher="stretched"), 0)
        assert (stretch == stretched(material.documents)).all()


def test_stretching_lengthens_strong_directions_and_keeps_the_length_of_rows(vectors):
    rows = Material.read(vectors).documents.astype(float)
    longer, directions = stretched(rows.astype(np.float32)), Rotation.fit(vectors).matrix
    lengths = np.linalg.norm(longer, axis=0)
    assert np.allclose(np.abs(np.sum(longer * directions, axis=0)), lengths, rtol=1e-4)
    strengths = np.square(rows @ directions).mean(axis=0)
    assert np.allclose(lengths / lengths[0], (strengths / strengths[0]) ** 0.15, rtol=1e-3)
    assert np.square(rows @ longer).sum() == pytest.approx(len(rows), rel=1e-4)


def loud_intents(rng, n, dim):
    """Rows of some intents in a few strong dimensions, with even noise in all others."""
    intents = rng.integers(0, 12, n)
    rows = 0.4 * rng.standard_normal((n, dim))
    rows[:, :6] += 1.5 * rng.standard_normal((12, 6))[intents]
    return rows.astype(np.float32), intents


@pytest.mark.parametrize(
    ("made", "teacher"), [(pairs_of_intents, "both"), (loud_intents, "stretched")]
)
def test_pairs_choose_the_teacher_that_ranks_them_better(rng, made, teacher):
    rows, intents = made(rng, 400, 24)
    material = Material.read(rows, qrels_of(intents))
    assert settled(Recipe(), material, (2, 4), 0) == Recipe(teacher=teacher)
    assert settled(Recipe.keeping(), material, (2, 4), 0) == Recipe.keeping()
    assert settled(Recipe(), Material.read(rows), (2, 4), 0).teacher == "both"


def test_what_is_to_be_kept_is_the_mean_of_the_teachers_cosines(vectors, rng):
    from nestvec.adapt.training.batches import Batches

    maps = [rng.standard_normal((DIM, DIM)).astype(np.float32) for _ in range(2)]
    material = Material.read(vectors)
    alone, both = ([Batches(material, part, Recipe(), 0, "cpu").draw(3).full for part in parts]
                   for parts in ([maps[:1], maps[1:]], [maps]))  # fmt: skip
    assert np.allclose(both[0], (alone[0] + alone[1]) / 2, atol=1e-5)


@pytest.mark.parametrize("width", [3, 7, DIM])
def test_an_orthogonal_map_is_the_q_of_what_is_trained(width, rng):
    import torch

    from nestvec.adapt.training.network import Network

    start = rng.standard_normal((DIM, DIM)).astype(np.float32)
    network = Network(start, (width,), Recipe(), 0)
    whole = network.numbers()["matrix"]
    assert np.abs(whole.T.astype(float) @ whole - np.eye(DIM)).max() < 4 * DIM * EPS
    trained = network(torch.eye(DIM)).detach().numpy()
    assert np.allclose(trained, whole[:, :width], atol=1e-3)
    for size in range(1, width + 1):  # a prefix spans what the same columns span
        together = np.concatenate([whole[:, :size], start[:, :size]], axis=1)
        assert np.linalg.matrix_rank(together, tol=1e-4) == size


# --- learned rotations ----------------------------------------------------------------------------


def test_a_learned_rotation_keeps_inner_products_and_more_neighbours(skewed):
    learned, pca = Rotation.learn(skewed, [3, 6]), Rotation.fit(skewed)
    rows = skewed.astype(float)
    turned = learned.transform(skewed).astype(float)
    lengths = np.linalg.norm(rows, axis=1)
    bound = 8 * 18 * 4 * EPS * np.outer(lengths, lengths)
    assert (np.abs(turned @ turned.T - rows @ rows.T) <= bound).all()
    exam = HeldOut.of(Material.read(skewed))
    found = [exam.over_sizes(adapter, [3, 6]).mean() for adapter in (learned, pca)]
    assert found[0] > found[1] + 0.02


# --- fits -----------------------------------------------------------------------------------------


def test_equal_input_and_seed_give_an_equal_adaptor(skewed):
    one, two = (MatryoshkaAdaptor.fit(skewed, [3, 6], recipe=QUICK, seed=3) for _ in range(2))
    other = MatryoshkaAdaptor.fit(skewed, [3, 6], recipe=QUICK, seed=4, force=True)
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_an_adaptor_that_keeps_more_neighbours_is_returned_with_what_shows_it(skewed, tmp_path):
    adaptor = MatryoshkaAdaptor.fit(skewed, [3, 6], recipe=QUICK)
    report = adaptor.report
    assert report.verdict == "ADAPTED"
    assert report.metric == "overlap@10"
    assert report.bound > 0
    assert report.gain.n == 120
    assert [one.dims for one in report.sizes] == [3, 6]
    assert adaptor.lossless
    assert report.full.gain.value == pytest.approx(0, abs=0.002)  # ties may fall either way
    adaptor.save(tmp_path / "a.safetensors")
    assert MatryoshkaAdaptor.load(tmp_path / "a.safetensors").report == report


def test_pairs_teach_what_people_find_relevant(rng):
    rows, intents = pairs_of_intents(rng, 700, 24)
    adaptor = MatryoshkaAdaptor.fit(rows, [2, 4], qrels_of(intents), recipe=LABELLED)
    assert adaptor.report.metric == "ndcg@10"
    assert adaptor.report.verdict == "ADAPTED"
    assert adaptor.report.gain.value > 0.1
    assert adaptor.report.pairs > 0


def test_queries_apart_from_documents_are_learned_from_too(rng):
    rows, intents = pairs_of_intents(rng, 700, 24)
    names = [f"d{row}" for row in range(500)]
    pairs = [
        (f"q{q}", names[d], 2) for q in range(500, 700) for d in range(500)
        if intents[q] == intents[d]
    ]  # fmt: skip
    adaptor = MatryoshkaAdaptor.fit(
        rows[:500], [4], pairs, queries=rows[500:], ids=names,
        query_ids=[f"q{q}" for q in range(500, 700)], recipe=LABELLED,
    )  # fmt: skip
    assert adaptor.report.verdict == "ADAPTED"
    assert adaptor.report.gain.n == 40


@pytest.mark.parametrize("force", [False, True])
def test_an_adaptor_that_is_not_better_is_left_out_unless_asked_for(vectors, force):
    ruinous = Recipe(start="identity", teacher="vectors", orthogonal=False, hidden=8, steps=20,
                     learning_rate=0.5, patience=99)  # fmt: skip
    adaptor = MatryoshkaAdaptor.fit(vectors, [3, 6], recipe=ruinous, force=force)
    assert adaptor.report.verdict == ("FORCED" if force else "ROTATION")
    assert adaptor.report.bound <= 0
    assert adaptor.lossless is not force
    pca = Rotation.fit(Material.read(vectors).documents)
    if not force:
        assert (adaptor.documents.matrix == pca.matrix).all()
        assert "this is PCA" in adaptor.report.said


def test_a_planted_bad_adaptor_does_not_get_past_the_guard(vectors, monkeypatch):
    from nestvec.adapt.training import loop

    def broken(task, *rest):
        rng = np.random.default_rng(0)
        numbers = {"matrix": rng.standard_normal((DIM, DIM)).astype(np.float32)}
        return loop.Trained(loop.as_adaptor(numbers, task.sizes), 5, ((5, 0.9),))

    monkeypatch.setattr(loop, "train", broken)
    assert MatryoshkaAdaptor.fit(vectors, [3, 6]).report.verdict == "ROTATION"


def test_the_papers_losses_can_be_trained(rng):
    rows, intents = pairs_of_intents(rng, 200, DIM)
    recipe = replace(Recipe.paper(DIM), steps=30)
    adaptor = MatryoshkaAdaptor.fit(rows, [3, 6], qrels_of(intents), recipe=recipe, force=True)
    assert adaptor.documents.residual is not None
    assert adaptor.report.recipe["ranking"] == 1


@pytest.mark.parametrize("width", [2, 6, 11])
def test_completing_an_adaptor_changes_no_prefix_and_mends_full_width(vectors, rng, width):
    start = starting_point(Material.read(vectors), FREE, 0)
    bent = start + 0.3 * rng.standard_normal(start.shape).astype(np.float32)
    broken = MatryoshkaAdaptor(Map(bent), Map(bent), (width,))
    whole = completed(broken, vectors, width)
    for rows in (vectors[:50], -vectors[7:9]):
        before, after = (truncate(one.transform(rows), width) for one in (broken, whole))
        assert np.allclose(before, after, atol=1e-5)

    def away(one):
        given = one.transform(vectors)
        return np.abs(given @ given.T - vectors @ vectors.T).mean()

    assert away(whole) < away(broken) or whole is broken
    assert (whole is broken) is (width == 11)  # one column mends nothing


# --- held-out queries -----------------------------------------------------------------------------


def test_held_out_rows_are_neither_asked_nor_found_in_training(vectors):
    material = Material.read(vectors)
    split = split_queries(material, 0)
    rows = {part: {row.tobytes() for row in getattr(split, part).queries} for part in split._fields}
    assert not rows["train"] & rows["watch"] | rows["train"] & rows["judge"]
    assert not rows["watch"] & rows["judge"]
    for part in split:
        found = {row.tobytes() for row in part.documents}
        assert not found & (rows["watch"] | rows["judge"])


def test_judgements_follow_their_rows_through_the_split(rng):
    rows, intents = pairs_of_intents(rng, 200, DIM)
    material = Material.read(rows, qrels_of(intents))
    intent = {row.tobytes(): i for row, i in zip(material.documents, intents, strict=True)}
    for part in split_queries(material, 0):
        for query, document in zip(part.judged.queries, part.judged.documents, strict=True):
            of = (part.queries[query], part.documents[document])
            assert intent[of[0].tobytes()] == intent[of[1].tobytes()]


def test_the_nearest_leave_out_the_query_itself_and_ties_go_to_the_smaller_row():
    documents = np.array([[1, 0], [0, 1], [1, 0], [0.5, 0.5]], np.float32)
    found = nearest(documents[[0, 1]], documents, np.array([0, -1]), 3)
    assert found.tolist() == [[2, 3, 1], [1, 3, 0]]
    assert nearest(documents[:1], documents, np.array([0]), 5).tolist() == [[2, 3, 1, -1, -1]]
    alike = np.ones((500, 2), np.float32)
    assert nearest(alike[:1], alike, np.array([2]), 4).tolist() == [[0, 1, 3, 4]]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 12))
def test_however_many_tie_the_nearest_are_those_of_a_stable_sort(seed, n, k):
    rng = np.random.default_rng(seed)
    documents, queries = (rng.integers(-1, 2, (rows, 2)).astype(np.float32) for rows in (n, 5))
    own = rng.integers(-1, n, 5)
    scores = queries @ documents.T
    scores[np.flatnonzero(own >= 0), own[own >= 0]] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    expected = np.full((5, k), -1)
    expected[:, : order.shape[1]] = order
    expected[:, : order.shape[1]][np.isinf(np.take_along_axis(scores, order, axis=1))] = -1
    assert nearest(queries, documents, own, k).tolist() == expected.tolist()


def test_seeds_below_0_are_named(rng):
    rows = rng.standard_normal((40, 4)).astype(np.float32)
    with pytest.raises(InputError, match="seed=-1"):
        Material.read(rows, seed=-1)


def test_a_bad_row_is_named_by_its_place_among_all(rng, monkeypatch):
    monkeypatch.setattr("nestvec.adapt.training_data.MOST_ROWS", 50)
    rows = rng.standard_normal((80, 4)).astype(np.float32)
    rows[77, 2], rows[75, 1] = np.nan, 1e20
    with pytest.raises(VectorsError, match=r"vectors\[(77|75)\]"):
        Material.read(rows, [(75, 77)])
    with pytest.raises(VectorsError, match=r"vectors\[75\] has an entry"):
        Material.read(np.delete(rows, 77, axis=0), [(75, 1)])


def test_pairs_are_renumbered_with_their_queries():
    judged = Judged(np.array([0, 1, 1, 3]), np.array([5, 6, 7, 8]), np.ones(4, np.float32))
    some = judged.of(np.array([3, 1]))
    assert some.queries.tolist() == [0, 1, 1]
    assert some.documents.tolist() == [8, 6, 7]


# --- resuming -------------------------------------------------------------------------------------


def test_early_stopping_goes_back_from_what_is_surely_worse_alone(rng):
    from nestvec.adapt.training.checkpoint import State

    first = rng.random(50)

    def after(*looks):
        state = State()
        for look in looks:
            state = state.after_step().after_look({}, look)
        return state.best_step

    assert after(first, first + 0.1) == 2
    assert after(first, first - 0.1) == 1
    noise = rng.standard_normal(50)
    assert after(first, first + 0.2 * (noise - noise.mean()) - 0.01) == 2
    # Small steps down are held against the peak, not against each other.
    assert after(first, *(first + 0.2 * (noise - noise.mean()) - 0.02 * n for n in range(1, 9))) < 6
    assert after(first, first - 0.1, first) == 3


def test_patience_counts_looks_that_saw_nothing_higher():
    from nestvec.adapt.training.checkpoint import State

    state = State()
    for mean, since in ((0.5, 0), (0.6, 0), (0.6, 1), (0.55, 2), (0.7, 0)):
        state = state.after_step().after_look({}, np.array([mean, mean]))
        assert state.looks_since_peak == since


def test_a_checkpoint_that_lacks_a_part_is_said_to_be_damaged(skewed, tmp_path):
    from nestvec.transforms.files import read_file, write_file

    path = tmp_path / "run"

    def stop(step, value):
        raise KeyboardInterrupt

    def fit(told):
        return MatryoshkaAdaptor.fit(skewed, [3, 6], recipe=QUICK, checkpoint=path, told=told)

    with pytest.raises(KeyboardInterrupt):
        fit(stop)
    left = next(tmp_path.iterdir())
    arrays, header = read_file(left)
    write_file(left, {n: a for n, a in arrays.items() if not n.startswith("now.")}, header)
    with pytest.raises(DataError, match="is damaged: it lacks"):
        fit(lambda step, value: None)


@pytest.mark.parametrize("labelled", [False, True])
def test_a_fit_that_was_stopped_goes_on_to_the_very_same_end(skewed, rng, tmp_path, labelled):
    rows, intents = pairs_of_intents(rng, 300, 16) if labelled else (skewed, None)
    pairs = qrels_of(intents) if labelled else None
    recipe = replace(Recipe(), steps=60, patience=99) if labelled else QUICK
    whole = MatryoshkaAdaptor.fit(rows, [3, 6], pairs, recipe=recipe, force=True)

    def stop(step, value):
        if step == 18:
            raise KeyboardInterrupt

    kept = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        MatryoshkaAdaptor.fit(rows, [3, 6], pairs, recipe=recipe, checkpoint=kept, told=stop)
    assert list(tmp_path.iterdir())
    seen = []
    resumed = MatryoshkaAdaptor.fit(
        rows, [3, 6], pairs, recipe=recipe, checkpoint=kept, force=True,
        told=lambda step, value: seen.append(step),
    )  # fmt: skip
    assert min(seen) > 18
    assert resumed.fingerprint == whole.fingerprint
    assert replace(resumed.report, seconds=0.0) == replace(whole.report, seconds=0.0)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_other_work_is_refused(skewed, tmp_path):
    def stop(step, value):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MatryoshkaAdaptor.fit(skewed, [3], recipe=QUICK, checkpoint=tmp_path / "c", told=stop)
    with pytest.raises(DataError, match="begun with other vectors"):
        MatryoshkaAdaptor.fit(skewed, [4], recipe=QUICK, checkpoint=tmp_path / "c")


# --- bad input ------------------------------------------------------------------------------------


def refused(error, match, *arguments, **options):
    with pytest.raises(error, match=match):
        MatryoshkaAdaptor.fit(*arguments, **options)


def test_vectors_that_nothing_can_be_learned_from_are_refused(vectors):
    refused(VectorsError, "4 vectors are given for prefixes of 6", vectors[:4], [6])
    refused(VectorsError, "span only 1 of", np.ones((50, DIM), np.float32), [6])
    flat = vectors.copy()
    flat[:, 4:] = 0
    refused(VectorsError, "span only 4 of their 12", flat, [6])
    vectors[9, 3] = np.nan
    refused(VectorsError, r"vectors\[9\] holds NaN", vectors, [6])


@pytest.mark.parametrize(
    ("dims", "said"),
    [([6, 3], "do not rise"), ([3, 3], "do not rise"), ([], "do not rise"), ([13], "wider"),
     ([0], "below 1")],
)  # fmt: skip
def test_dims_that_are_no_rising_sizes_are_refused(vectors, dims, said):
    refused(DimsError, said, vectors, dims)


def test_one_size_is_no_list_of_sizes():
    with pytest.raises(DimsError, match="are not sizes"):
        check_sizes(8, DIM)


def test_pairs_that_name_nobody_are_refused(vectors):
    refused(IdsError, "the document 'x'", vectors, [3], [(0, "x")])
    refused(IdsError, "the query 900", vectors, [3], {900: {0: 1}})
    refused(InputError, "no relevant document", vectors, [3], [(0, 1, 0)])
    refused(InputError, "each is", vectors, [3], ["ab"])
    refused(IdsError, "3 ids", vectors, [3], [(0, 1)], ids=[1, 2, 3])
    refused(InputError, "without queries", vectors, [3], query_ids=[1])
    refused(InputError, "too few to hold", vectors, [3], [(0, 1), (1, 2)])


def test_queries_of_another_width_are_refused(vectors):
    refused(VectorsError, "queries have 5 dimensions", vectors, [3], queries=vectors[:, :5])


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"patience": 0}, {"noise": -1.0}, {"temperature": 0.0}, {"labels": 2.0},
     {"distillation": 0.0}, {"hidden": 3}],
)  # fmt: skip
def test_recipes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError):
        Recipe(**wrong)


def test_dimensions_that_fall_together_are_named():
    import torch

    from nestvec.adapt.training.network import Network

    network = Network(np.ones((DIM, DIM), np.float32), (3,), Recipe(), 0)
    with pytest.raises(InputError, match="no longer independent"):
        network(torch.eye(DIM))


def test_only_the_ranking_loss_asks_for_pairs(vectors):
    recipe = Recipe(distillation=0.0, ranking=1.0)
    refused(InputError, "asks for pairs", vectors, [3], recipe=recipe)
