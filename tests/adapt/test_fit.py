"""Fitting an adaptor: its initialization, its training, and the guard against bad adaptors."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from nestvec import MatryoshkaAdaptor, Rotation, truncate
from nestvec.adapt import Linear
from nestvec.adapt.config import AdaptorConfig
from nestvec.adapt.evaluation import HeldOutQueries
from nestvec.adapt.fitting import split_queries
from nestvec.adapt.full_width_completion import complete_full_width
from nestvec.adapt.initialization import (
    initial_map,
    resolve_teacher,
    stretched_pca,
    teacher_maps,
)
from nestvec.adapt.training_data import Judgments, TrainingData, check_dims_list
from nestvec.adapt.whitening import neighbour_whitening
from nestvec.errors import CheckpointError, DimsError, IdsError, InputError, VectorsError
from nestvec.transforms.residual import Map, ResidualTransform

from .conftest import DIM

pytest.importorskip("torch")
QUICK = replace(AdaptorConfig.unsupervised(), steps=60, batch_size=64, learning_rate=1e-2)
LABELLED = AdaptorConfig(steps=60, learning_rate=1e-2)
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


# --- initialization and teachers ------------------------------------------------------------------


FREE = AdaptorConfig(
    initialization="neighbour_whitening", teacher="initialization", orthogonal=False
)


@pytest.mark.parametrize(
    "config", [AdaptorConfig(), AdaptorConfig.unsupervised(), FREE, replace(FREE, hidden=5)]
)
def test_before_the_first_step_the_adaptor_is_its_initialization(config, vectors):
    from nestvec.adapt.training.task import AdaptorTask, train_adaptor

    data = TrainingData.read(vectors)
    start, teachers = initial_map(data, config, 0), teacher_maps(data, config, 0)
    task = AdaptorTask(data, start, teachers, (4, 8), config, 0)
    untouched = train_adaptor(task, last_step=0).transform
    expected = Linear(start, np.zeros(DIM, np.float32)).transform(data.documents)
    assert np.allclose(
        untouched.transform(vectors), expected / np.linalg.norm(expected, axis=1, keepdims=True),
        atol=1e-5,
    )  # fmt: skip


def test_the_papers_adaptor_begins_at_the_identity(vectors):
    start = initial_map(TrainingData.read(vectors), AdaptorConfig.paper(DIM), 0)
    assert (start == np.eye(DIM)).all()


def test_neighbour_whitening_puts_directions_that_differ_beyond_neighbours_first(rng):
    rows = pairs_of_intents(rng, 900, 24)[0]
    first = Linear.fit_neighbour_whitening(rows).matrix[:, 0]
    assert np.square(first[-6:]).sum() > np.square(Rotation.fit(rows).matrix[-6:, 0]).sum()


def test_teachers_are_the_vectors_their_neighbour_whitening_or_the_initialization(rng):
    rows, intents = pairs_of_intents(rng, 200, 24)
    for data in (TrainingData.read(rows), TrainingData.read(rows, qrels_of(intents))):
        whitening = neighbour_whitening(data, AdaptorConfig(), 0)
        identity, other = teacher_maps(data, AdaptorConfig(teacher="average"), 0)
        assert (identity == np.eye(24)).all()
        assert (other == whitening).all()
        assert (teacher_maps(data, FREE, 0)[0] == whitening).all()
        assert len(teacher_maps(data, AdaptorConfig.unsupervised(), 0)) == 1
        (stretch,) = teacher_maps(data, AdaptorConfig(teacher="stretched_pca"), 0)
        assert (stretch == stretched_pca(data.documents)).all()


def test_stretching_lengthens_strong_directions_and_keeps_the_length_of_rows(vectors):
    rows = TrainingData.read(vectors).documents.astype(float)
    longer, directions = stretched_pca(rows.astype(np.float32)), Rotation.fit(vectors).matrix
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
    ("make_rows", "teacher"), [(pairs_of_intents, "average"), (loud_intents, "stretched_pca")]
)
def test_pairs_choose_the_teacher_that_ranks_them_better(rng, make_rows, teacher):
    rows, intents = make_rows(rng, 400, 24)
    data = TrainingData.read(rows, qrels_of(intents))
    assert resolve_teacher(AdaptorConfig(), data, (2, 4), 0) == AdaptorConfig(teacher=teacher)
    assert (
        resolve_teacher(AdaptorConfig.unsupervised(), data, (2, 4), 0)
        == AdaptorConfig.unsupervised()
    )
    assert resolve_teacher(AdaptorConfig(), TrainingData.read(rows), (2, 4), 0).teacher == "average"


def test_the_ranking_to_keep_is_by_the_mean_of_the_teachers_cosines(vectors, rng):
    from nestvec.adapt.training.batches import Batches

    maps = [rng.standard_normal((DIM, DIM)).astype(np.float32) for _ in range(2)]
    data = TrainingData.read(vectors)
    alone, both = ([Batches(data, part, AdaptorConfig(), 0, "cpu").draw(3).full for part in parts]
                   for parts in ([maps[:1], maps[1:]], [maps]))  # fmt: skip
    assert np.allclose(both[0], (alone[0] + alone[1]) / 2, atol=1e-5)


@pytest.mark.parametrize("width", [3, 7, DIM])
def test_an_orthogonal_map_is_the_q_factor_of_the_trained_matrix(width, rng):
    import torch

    from nestvec.adapt.training.network import Network

    start = rng.standard_normal((DIM, DIM)).astype(np.float32)
    network = Network(start, (width,), AdaptorConfig(), 0)
    whole = network.arrays()["matrix"]
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
    exam = HeldOutQueries.from_data(TrainingData.read(skewed))
    found = [exam.mean_over_dims(adapter, [3, 6]).mean() for adapter in (learned, pca)]
    assert found[0] > found[1] + 0.02


# --- fits -----------------------------------------------------------------------------------------


def test_equal_input_and_seed_give_an_equal_adaptor(skewed):
    one, two = (MatryoshkaAdaptor.fit(skewed, [3, 6], config=QUICK, seed=3) for _ in range(2))
    other = MatryoshkaAdaptor.fit(skewed, [3, 6], config=QUICK, seed=4, force=True)
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_an_adaptor_that_preserves_more_neighbours_is_returned_with_its_report(skewed, tmp_path):
    adaptor = MatryoshkaAdaptor.fit(skewed, [3, 6], config=QUICK)
    report = adaptor.report
    assert report.verdict == "ADAPTED"
    assert report.metric == "overlap@10"
    assert report.gain_lower_bound > 0
    assert report.gain.n == 120
    assert [one.dims for one in report.at_dims] == [3, 6]
    assert adaptor.preserves_inner_products
    assert report.at_full_width.gain.value == pytest.approx(
        0, abs=0.002
    )  # ties may fall either way
    adaptor.save(tmp_path / "a.safetensors")
    assert MatryoshkaAdaptor.load(tmp_path / "a.safetensors").report == report


def test_pairs_teach_relevance(rng):
    rows, intents = pairs_of_intents(rng, 700, 24)
    adaptor = MatryoshkaAdaptor.fit(rows, [2, 4], qrels_of(intents), config=LABELLED)
    assert adaptor.report.metric == "ndcg@10"
    assert adaptor.report.verdict == "ADAPTED"
    assert adaptor.report.gain.value > 0.1
    assert adaptor.report.n_pairs > 0


def test_separate_queries_are_learned_from_too(rng):
    rows, intents = pairs_of_intents(rng, 700, 24)
    names = [f"d{row}" for row in range(500)]
    pairs = [
        (f"q{q}", names[d], 2) for q in range(500, 700) for d in range(500)
        if intents[q] == intents[d]
    ]  # fmt: skip
    adaptor = MatryoshkaAdaptor.fit(
        rows[:500], [4], pairs, queries=rows[500:], ids=names,
        query_ids=[f"q{q}" for q in range(500, 700)], config=LABELLED,
    )  # fmt: skip
    assert adaptor.report.verdict == "ADAPTED"
    assert adaptor.report.gain.n == 40


@pytest.mark.parametrize("force", [False, True])
def test_an_adaptor_that_is_not_better_is_replaced_by_pca_unless_forced(vectors, force):
    ruinous = AdaptorConfig(
        initialization="identity", teacher="vectors", orthogonal=False, hidden=8, steps=20,
        learning_rate=0.5, patience=99,
    )  # fmt: skip
    adaptor = MatryoshkaAdaptor.fit(vectors, [3, 6], config=ruinous, force=force)
    assert adaptor.report.verdict == ("FORCED" if force else "ROTATION")
    assert adaptor.report.gain_lower_bound <= 0
    assert adaptor.preserves_inner_products is not force
    pca = Rotation.fit(TrainingData.read(vectors).documents)
    if not force:
        assert (adaptor.documents.matrix == pca.matrix).all()
        assert "this is PCA" in adaptor.report.summary


def test_a_planted_bad_adaptor_does_not_get_past_the_guard(vectors, monkeypatch):
    from nestvec.adapt import fitting

    def train_at_random(task, *arguments, **options):
        matrix = np.random.default_rng(0).standard_normal((DIM, DIM)).astype(np.float32)
        transform = ResidualTransform(Map(matrix), Map(matrix), task.nesting_dims)
        return fitting.FittedAdaptor(transform, 5, ((5, 0.9),))

    monkeypatch.setattr(fitting, "train_adaptor", train_at_random)
    assert MatryoshkaAdaptor.fit(vectors, [3, 6]).report.verdict == "ROTATION"


def test_the_papers_losses_can_be_trained(rng):
    rows, intents = pairs_of_intents(rng, 200, DIM)
    config = replace(AdaptorConfig.paper(DIM), steps=30)
    adaptor = MatryoshkaAdaptor.fit(rows, [3, 6], qrels_of(intents), config=config, force=True)
    assert adaptor.documents.residual is not None
    assert adaptor.report.config["ranking_weight"] == 1


@pytest.mark.parametrize("width", [2, 6, 11])
def test_completing_an_adaptor_changes_no_prefix_and_mends_full_width(vectors, rng, width):
    start = initial_map(TrainingData.read(vectors), FREE, 0)
    bent = start + 0.3 * rng.standard_normal(start.shape).astype(np.float32)
    broken = MatryoshkaAdaptor(Map(bent), Map(bent), (width,))
    whole = complete_full_width(broken, vectors, width)
    for rows in (vectors[:50], -vectors[7:9]):
        before, after = (truncate(one.transform(rows), width) for one in (broken, whole))
        assert np.allclose(before, after, atol=1e-5)

    def away(one):
        rotated = one.transform(vectors)
        return np.abs(rotated @ rotated.T - vectors @ vectors.T).mean()

    assert away(whole) < away(broken) or whole is broken
    assert (whole is broken) is (width == 11)  # one column mends nothing


# --- held-out queries -----------------------------------------------------------------------------


def test_held_out_rows_are_neither_queries_nor_documents_of_the_training(vectors):
    data = TrainingData.read(vectors)
    split = split_queries(data, 0)
    rows = {part: {row.tobytes() for row in getattr(split, part).queries} for part in split._fields}
    assert not rows["train"] & rows["validation"] | rows["train"] & rows["test"]
    assert not rows["validation"] & rows["test"]
    for part in split:
        found = {row.tobytes() for row in part.documents}
        assert not found & (rows["validation"] | rows["test"])


def test_judgments_follow_their_rows_through_the_split(rng):
    rows, intents = pairs_of_intents(rng, 200, DIM)
    data = TrainingData.read(rows, qrels_of(intents))
    intent = {row.tobytes(): i for row, i in zip(data.documents, intents, strict=True)}
    for part in split_queries(data, 0):
        for query, document in zip(part.judgments.queries, part.judgments.documents, strict=True):
            of = (part.queries[query], part.documents[document])
            assert intent[of[0].tobytes()] == intent[of[1].tobytes()]


def test_seeds_below_0_are_named(rng):
    rows = rng.standard_normal((40, 4)).astype(np.float32)
    with pytest.raises(InputError, match="seed=-1"):
        TrainingData.read(rows, seed=-1)


def test_a_bad_row_is_named_by_its_number_among_all(rng, monkeypatch):
    monkeypatch.setattr("nestvec.adapt.training_data.MAX_ROWS", 50)
    rows = rng.standard_normal((80, 4)).astype(np.float32)
    rows[77, 2], rows[75, 1] = np.nan, 1e20
    with pytest.raises(VectorsError, match=r"vectors\[(77|75)\]"):
        TrainingData.read(rows, [(75, 77)])
    with pytest.raises(VectorsError, match=r"vectors\[75\] has an entry"):
        TrainingData.read(np.delete(rows, 77, axis=0), [(75, 1)])


def test_pairs_are_renumbered_with_their_queries():
    judged = Judgments(np.array([0, 1, 1, 3]), np.array([5, 6, 7, 8]), np.ones(4, np.float32))
    selected = judged.select(np.array([3, 1]))
    assert selected.queries.tolist() == [0, 1, 1]
    assert selected.documents.tolist() == [8, 6, 7]


# --- resuming -------------------------------------------------------------------------------------


def best_step(vectors, *evaluations):
    """Train with these validation scores, and tell the step that the best parameters are of."""
    from nestvec.adapt.training.task import AdaptorTask, train_adaptor

    scores = iter(evaluations)
    data, config = TrainingData.read(vectors), replace(QUICK, steps=len(evaluations) - 1)
    eye = np.eye(DIM, dtype=np.float32)
    task = AdaptorTask(data, eye, (eye,), (3,), config, 0, lambda adaptor: next(scores))
    fitted = train_adaptor(task)
    assert [mean for _, mean in fitted.history] == [scores.mean() for scores in evaluations]
    return fitted.step


def test_early_stopping_goes_back_only_from_significantly_lower_scores(vectors, rng):
    first, noise = rng.random(50), rng.standard_normal(50)
    noise -= noise.mean()
    assert best_step(vectors, first, first + 0.1) == 1
    assert best_step(vectors, first, first - 0.1) == 0
    assert best_step(vectors, first, first + 0.2 * noise - 0.01) == 1
    # Small steps down are compared with the peak, not with each other.
    slope = (first + 0.2 * noise - 0.02 * n for n in range(1, 9))
    assert best_step(vectors, first, *slope) < 5
    assert best_step(vectors, first, first - 0.1, first) == 2


def test_patience_counts_evaluations_without_a_higher_mean(skewed):
    config = replace(QUICK, steps=100, patience=2)
    scores = iter(np.full(20, score) for score in (0.5, 0.6, 0.6, 0.55, 0.7))
    eye = np.eye(16, dtype=np.float32)
    from nestvec.adapt.training.task import AdaptorTask, train_adaptor

    task = AdaptorTask(
        TrainingData.read(skewed), eye, (eye,), (3,), config, 0, lambda adaptor: next(scores)
    )
    assert [step for step, _ in train_adaptor(task).history] == [0, 10, 20, 30]


@pytest.mark.parametrize("labelled", [False, True])
def test_a_fit_that_was_stopped_goes_on_to_the_very_same_end(skewed, rng, tmp_path, labelled):
    rows, intents = pairs_of_intents(rng, 300, 16) if labelled else (skewed, None)
    pairs = qrels_of(intents) if labelled else None
    config = replace(AdaptorConfig(), steps=60, patience=99) if labelled else QUICK
    whole = MatryoshkaAdaptor.fit(rows, [3, 6], pairs, config=config, force=True)

    def stop(step, value):
        if step == 18:
            raise KeyboardInterrupt

    checkpoint = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        MatryoshkaAdaptor.fit(
            rows, [3, 6], pairs, config=config, checkpoint=checkpoint, on_evaluation=stop
        )
    assert list(tmp_path.iterdir())
    seen = []
    resumed = MatryoshkaAdaptor.fit(
        rows, [3, 6], pairs, config=config, checkpoint=checkpoint, force=True,
        on_evaluation=lambda step, value: seen.append(step),
    )  # fmt: skip
    assert min(seen) > 18
    assert resumed.fingerprint == whole.fingerprint
    assert replace(resumed.report, duration_s=0.0) == replace(whole.report, duration_s=0.0)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_other_work_is_refused(skewed, tmp_path):
    def stop(step, value):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MatryoshkaAdaptor.fit(
            skewed, [3], config=QUICK, checkpoint=tmp_path / "c", on_evaluation=stop
        )
    with pytest.raises(CheckpointError, match="dims"):
        MatryoshkaAdaptor.fit(skewed, [4], config=QUICK, checkpoint=tmp_path / "c")


# --- bad input ------------------------------------------------------------------------------------


def refused(error, match, *arguments, **options):
    with pytest.raises(error, match=match):
        MatryoshkaAdaptor.fit(*arguments, **options)


@pytest.mark.door("vectors that leave dimensions empty, with dims up to full width", "completed")
@pytest.mark.parametrize(
    "fit", [MatryoshkaAdaptor.fit, Rotation.learn], ids=["adaptor", "rotation"]
)
def test_directions_that_no_vector_has_are_completed_at_full_width(vectors, fit, caplog):
    flat = vectors.copy()
    flat[:, 9:] = 0
    options = {"config": QUICK} if fit == MatryoshkaAdaptor.fit else {}
    with caplog.at_level(logging.INFO, "nestvec.adapt"):
        fitted = fit(flat, [3, 6, DIM], **options)
    assert "span 9 of their 12 dimensions" in caplog.text
    through = fitted.transform(flat)
    np.testing.assert_allclose(through @ through.T, flat @ flat.T, atol=2e-5)
    with pytest.raises(VectorsError, match="fewer than the 10"):
        fit(flat, [3, 10, DIM], **options)


def test_vectors_that_nothing_can_be_learned_from_are_refused(vectors):
    refused(VectorsError, "there are 4 vectors for prefixes of 6", vectors[:4], [6])
    refused(VectorsError, "span only 1 of", np.ones((50, DIM), np.float32), [6])
    flat = vectors.copy()
    flat[:, 4:] = 0
    refused(VectorsError, "span only 4 of their 12", flat, [6])
    vectors[9, 3] = np.nan
    refused(VectorsError, r"vectors\[9\] holds NaN", vectors, [6])


@pytest.mark.parametrize(
    ("dims", "message"),
    [([6, 3], "do not ascend"), ([3, 3], "do not ascend"), ([], "do not ascend"), ([13], "wider"),
     ([0], "below 1")],
)  # fmt: skip
def test_dims_that_do_not_ascend_are_refused(vectors, dims, message):
    refused(DimsError, message, vectors, dims)


def test_a_single_number_is_no_list_of_dims():
    with pytest.raises(DimsError, match="is no list"):
        check_dims_list(8, DIM)


def test_pairs_with_unknown_ids_are_refused(vectors):
    refused(IdsError, "the document 'x'", vectors, [3], [(0, "x")])
    refused(IdsError, "the query 900", vectors, [3], {900: {0: 1}})
    refused(InputError, "no relevant document", vectors, [3], [(0, 1, 0)])
    refused(InputError, "each is", vectors, [3], ["ab"])
    refused(IdsError, "3 ids", vectors, [3], [(0, 1)], ids=[1, 2, 3])
    refused(InputError, "need queries", vectors, [3], query_ids=[1])
    refused(InputError, "too few to hold", vectors, [3], [(0, 1), (1, 2)])


def test_an_unknown_option_is_refused_with_the_known_ones(vectors):
    refused(InputError, "sede is no option of .* seed, confidence", vectors, [3], sede=1)


def test_queries_of_another_width_are_refused(vectors):
    refused(VectorsError, "queries have 5 dimensions", vectors, [3], queries=vectors[:, :5])


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"patience": 0}, {"query_noise": -1.0}, {"temperature": 0.0},
     {"label_share": 2.0}, {"distillation_weight": 0.0}, {"hidden": 3}, {"teacher": "nobody"}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        AdaptorConfig(**wrong)


def test_dependent_dimensions_are_a_named_error():
    import torch

    from nestvec.adapt.training.network import Network

    network = Network(np.ones((DIM, DIM), np.float32), (3,), AdaptorConfig(), 0)
    with pytest.raises(InputError, match="no longer independent"):
        network(torch.eye(DIM))


def test_the_ranking_loss_alone_needs_pairs(vectors):
    config = AdaptorConfig(distillation_weight=0.0, ranking_weight=1.0)
    refused(InputError, "needs pairs", vectors, [3], config=config)
