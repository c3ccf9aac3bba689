"""`train_text` and `train_clip`: batches, losses, and runs that resume."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from nestvec.encode import open_encoder  # noqa: E402
from nestvec.errors import CheckpointError, DataError, DimsError, InputError  # noqa: E402
from nestvec.losses import nested_info_nce  # noqa: E402
from nestvec.train import ClipConfig, Loop, TextConfig, train_clip, train_text  # noqa: E402
from nestvec.train.data.pairs import PairFile, Pairs  # noqa: E402
from nestvec.train.evaluation.positive_ranks import (  # noqa: E402
    ndcg_at_10,
    positive_ranks,
    recall_at_1,
    truncate_sides,
)
from nestvec.train.models.bert import Bert  # noqa: E402
from nestvec.train.models.image_model import ResNet  # noqa: E402
from nestvec.train.models.towers import Pretrained  # noqa: E402
from nestvec.train.recipes.contrastive import Mining  # noqa: E402
from nestvec.train.recipes.text import text_task  # noqa: E402

BERT = Bert(hidden=16, layers=1, heads=2, vocabulary=200, max_tokens=12)
OLD = {"query_tower": "left", "document_tower": "right", "mini_batch_size": "at_once"}
LOOP = Loop(steps=12, batch_size=8, learning_rate=0.01, evaluate_every=4)
TEXT = TextConfig(dims=(4, 16), model=BERT, loop=LOOP)
CLIP = ClipConfig(dims=(4, 8), query_tower=BERT, document_tower=replace(BERT, hidden=32), loop=LOOP)


@pytest.mark.parametrize(
    "config",
    [
        replace(TEXT, mining=Mining(count=2, dims=4), loop=replace(LOOP, precision="bfloat16")),
        replace(TEXT, guardrail=1.0, mini_batch_size=3, bidirectional=True, init_pca=True),
    ],
    ids=["mining", "guardrail"],
)
def test_a_resumed_run_ends_with_the_bits_of_one_never_stopped(
    tmp_path, pairs, stopped, same_bits, config
):
    full = train_text(pairs, config, tmp_path / "full")
    stopped(lambda listen: train_text(pairs, config, tmp_path / "resumed", listen), 11)
    assert train_text(pairs, config, tmp_path / "resumed").history == full.history
    same_bits(tmp_path / "full", tmp_path / "resumed")


def test_every_prefix_learns_and_the_model_opens_in_encode_and_sentence_transformers(
    tmp_path, pairs
):
    from sentence_transformers import SentenceTransformer

    config = replace(TEXT, loop=replace(LOOP, steps=60, batch_size=16, evaluate_every=20))
    trained = train_text(pairs, config, tmp_path / "run")
    assert list(trained.best.scores) == ["4", "16"]
    assert trained.best.scores["16"] > trained.history[0].scores["16"] - 0.05
    assert trained.best.scores["4"] > 0.6
    held_out = pairs[1]
    encoder = open_encoder(str(trained.model), device="cpu")
    embeddings = [encoder.encode(list(t)) for t in (held_out.queries, held_out.documents)]
    ranks = positive_ranks(*truncate_sides(*embeddings, 16, 16), held_out.positives)
    assert ndcg_at_10(ranks) == pytest.approx(
        trained.best.scores["16"], abs=0.05
    )  # it may encode in bfloat16
    short = SentenceTransformer(str(trained.model), truncate_dim=4, device="cpu")
    assert short.encode(["bal deo"]).shape == (1, 4)


def test_a_pca_start_changes_no_cosine_and_puts_the_principal_directions_first(pairs):
    texts = [*pairs[0].queries, *pairs[0].documents]
    plain, rotated = (
        text_task(pairs, replace(TEXT, init_pca=init_pca)).eval().left.embed(texts)
        for init_pca in (False, True)
    )
    np.testing.assert_allclose(rotated @ rotated.T, plain @ plain.T, atol=1e-4)
    strength = np.square(rotated).sum(axis=0)
    assert (np.diff(strength) < 1e-4 * strength[0]).all()
    assert not np.allclose(rotated, plain, atol=0.01)


def batch_of(pairs, rows, config=TEXT):
    task = text_task(pairs, config)
    return task, task.row_batch(torch.tensor(rows), torch.Generator())


def test_equal_texts_and_positives_of_equal_queries_are_no_negatives():
    pairs = Pairs.from_texts(
        ["one", "two", "one", "four"], ["A", "B", "C", "A"], negatives=["N", "B", "N", "O"]
    )
    _, batch = batch_of((pairs, pairs), [0, 1, 2, 3])
    expected = np.eye(4, 8, dtype=bool)
    expected[0, 3] = expected[3, 0] = True  # both have the positive A
    expected[0, 2] = expected[2, 0] = True  # both queries are "one"
    expected[2, 3] = True  # and A is a positive of it
    expected[1, 5] = True  # row 1's negative is its positive
    np.testing.assert_array_equal(batch.excluded.numpy(), expected)


def test_mined_negatives_follow_the_positives_and_exclude_them(pairs):
    task, _ = batch_of(pairs, [0, 1], replace(TEXT, mining=Mining(count=2, dims=4)))
    task.eval()
    with torch.no_grad():
        task.start_epoch(0)
    mined = task.mined[:3]
    assert (mined >= 0).all()
    task.mined[2] = torch.tensor([0, 5])  # row 0's positive
    batch = task.row_batch(torch.tensor([0, 2]), torch.Generator())
    assert batch.excluded.shape == (2, 6)
    assert batch.excluded[0].tolist() == [True, False, False, False, True, False]


def test_the_loss_is_the_nested_info_nce_of_the_embeddings(pairs):
    task, batch = batch_of(pairs, [3, 5, 8, 13])
    task.eval()
    queries, documents = task.left(batch.queries[0]), task.left(batch.documents[0])
    expected = nested_info_nce(queries, documents, [4, 16], 0.05)
    torch.testing.assert_close(task.loss(task(batch), batch), expected)


def test_mini_batches_change_neither_loss_nor_gradient(pairs):
    losses, gradients = [], []
    for mini_batch_size in (None, 3):
        config = replace(TEXT, mini_batch_size=mini_batch_size)
        with torch.random.fork_rng():
            task, batch = batch_of(pairs, list(range(8)), config)
        loss = task.eval().loss(task(batch), batch)
        loss.backward()
        losses.append(loss.detach())
        gradients.append([p.grad for p in task.parameters() if p.grad is not None])
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_the_guardrail_is_0_until_the_model_changes(pairs):
    plain, batch = batch_of(pairs, [0, 1, 2, 3])
    guarded, _ = batch_of(pairs, [0, 1, 2, 3], replace(TEXT, guardrail=10.0))
    plain.eval(), guarded.eval()
    loss = guarded.loss(guarded(batch), batch)
    torch.testing.assert_close(loss, plain.loss(plain(batch), batch))
    with torch.no_grad():
        for parameter in guarded.left.parameters():
            parameter.mul_(1.5)
    outputs = guarded(batch)
    plain_loss = nested_info_nce(outputs.queries, outputs.documents, [4, 16], 0.05)
    assert guarded.loss(outputs, batch) > plain_loss


def test_two_towers_of_texts_are_measured_at_every_pair_of_dims(
    tmp_path, pairs, stopped, same_bits
):
    full = train_clip(pairs, CLIP, tmp_path / "full")
    assert list(full.best.scores) == ["4", "4 x 8", "8 x 4", "8"]
    stopped(lambda listen: train_clip(pairs, CLIP, tmp_path / "resumed", listen), 5)
    assert train_clip(pairs, CLIP, tmp_path / "resumed").history == full.history
    same_bits(tmp_path / "full", tmp_path / "resumed")
    task = torch.load(tmp_path / "full" / "checkpoint.pt", weights_only=True)["task"]
    assert float(task["log_temperature"].exp()) != pytest.approx(0.07, abs=1e-6)
    encoders = [open_encoder(str(full.model / name), device="cpu") for name in ("left", "right")]
    assert [encoder.info.dim for encoder in encoders] == [8, 8]


def test_a_run_of_an_older_version_is_recognised_though_its_settings_had_other_names(
    tmp_path, pairs, stopped, same_bits
):
    full = train_clip(pairs, CLIP, tmp_path / "full")
    stopped(lambda listen: train_clip(pairs, CLIP, tmp_path / "old", listen), 5)
    path = tmp_path / "old" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    identity = {
        re.sub("^query_tower|^document_tower|^mini_batch_size", lambda m: OLD[m[0]], name): value
        for name, value in state.pop("identity").items()
    }
    assert {"left.hidden", "right.kind", "at_once"} <= identity.keys()
    del state["best_step"], state["per_query"]
    torch.save(state | {"format": 1, "identity": identity}, path)
    assert train_clip(pairs, CLIP, tmp_path / "old").history == full.history
    same_bits(tmp_path / "full", tmp_path / "old")
    with pytest.raises(CheckpointError, match=r"query_tower\.hidden is 32 and was 16"):
        train_clip(pairs, replace(CLIP, query_tower=replace(BERT, hidden=32)), tmp_path / "full")


def test_images_find_the_names_of_their_classes(tmp_path, images):
    data = tuple(Pairs.from_images(split) for split in images)
    loop = replace(LOOP, steps=60, batch_size=16, evaluate_every=60)
    config = replace(CLIP, query_tower=ResNet(hidden=16), loop=loop)
    trained = train_clip(data, config, tmp_path / "run")
    assert min(trained.best.scores.values()) > 0.7


def test_dims_and_items_that_do_not_fit_are_refused(tmp_path, pairs, images):
    with pytest.raises(DimsError, match="32"):
        train_text(pairs, replace(TEXT, dims=(4, 32)), tmp_path / "a")
    with pytest.raises(InputError, match="takes texts as queries"):
        train_text(tuple(map(Pairs.from_images, images)), TEXT, tmp_path / "b")
    with pytest.raises(InputError, match=r"queries are images and query_tower\.kind takes texts"):
        train_clip(tuple(map(Pairs.from_images, images)), CLIP, tmp_path / "c")
    with pytest.raises(InputError, match="heads=3"):
        Bert(hidden=16, heads=3)
    with pytest.raises(DataError, match="1 queries and 2 documents make no pairs"):
        Pairs.from_texts(["a"], ["b", "c"])


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"temperature": 0.0}, "temperature=0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"mini_batch_size": 0}, "mini_batch_size=0"),
        ({"guardrail": -1.0}, "guardrail=-1"),
        ({"eval_dims": (4, 32)}, "eval_dims=32, but the model has 16"),
        ({"mining": Mining(dims=64)}, r"mining\.dims=64, but the model has 16"),
    ],
)
def test_settings_out_of_range_are_refused_before_a_step(tmp_path, pairs, change, wrong):
    events = []
    with pytest.raises(InputError, match=wrong):
        train_text(pairs, replace(TEXT, **change), tmp_path / "run", events.append)
    assert not events


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda: Mining(count=0), r"mining\.count=0"),
        (lambda: Mining(dims=0), r"mining\.dims=0"),
        (lambda: Mining(first_epoch=-1), r"mining\.first_epoch=-1"),
        (lambda: Mining(margin=float("nan")), r"mining\.margin=nan"),
        (lambda: Bert(heads=0), "heads=0"),
        (lambda: Bert(layers=0), "layers=0"),
        (lambda: Pretrained(max_tokens=2), "max_tokens=2"),
        (lambda: ClipConfig(dims=(-5,)), "dims=-5"),
    ],
)
def test_settings_out_of_range_are_refused(make, wrong):
    with pytest.raises(InputError, match=wrong):
        make()


def test_pairs_are_read_from_columns_and_held_out_texts_are_not_trained_on(tmp_path):
    lines = ["q\ta\tn", *(f"q{i}\ta{i // 2}\tn{i}" for i in range(40))]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines))
    train, held_out = PairFile(str(tmp_path / "pairs.tsv"), "q", "a", "n", held_out=6).read()
    assert len(held_out) == 6
    assert not set(train.documents) & set(held_out.documents)
    for split in (train, held_out):
        columns = (split.queries, split.positives, split.negatives)
        for query, positive, negative in zip(*columns, strict=True):
            number = int(query[1:])
            assert (split.documents[positive], negative) == (f"a{number // 2}", f"n{number}")


def test_a_column_may_be_inside_the_metadata(tmp_path):
    lines = [
        json.dumps({"_id": str(i), "title": "", "text": f"a{i}", "metadata": {"title": f"q{i}"}})
        for i in range(9)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    file = PairFile(str(tmp_path / "pairs.jsonl"), "metadata.title", "text", held_out=2)
    train, _ = file.read()
    rows = zip(train.queries, train.positives, strict=True)
    assert all(train.documents[positive][1:] == query[1:] for query, positive in rows)
    with pytest.raises(DataError, match="row 0 has no text 'name'"):
        replace(file, query_column="metadata.name").read()


def test_positive_ranks_equal_a_sort_where_equal_scores_go_to_the_smaller_row():
    rng = np.random.default_rng(0)
    queries, documents = (rng.integers(-2, 3, (n, 4)).astype(np.float32) for n in (50, 30))
    positives = rng.integers(0, 30, 50)
    order = np.argsort(-(queries @ documents.T), axis=1, kind="stable")
    expected = [
        row.tolist().index(positive) for row, positive in zip(order, positives, strict=True)
    ]
    assert positive_ranks(queries, documents, positives).tolist() == expected
    assert recall_at_1(np.array([0, 1, 0, 9])) == 0.5
    assert ndcg_at_10(np.array([0, 1, 10])) == pytest.approx((1 + 1 / np.log2(3)) / 3)


def test_the_wider_side_is_compared_as_it_is_stored():
    queries, documents = np.array([[3.0, 4.0, 12.0]]), np.array([[1.0, 2.0, 2.0]])
    queries, documents = truncate_sides(queries, documents, 2, 3)
    np.testing.assert_allclose(queries, [[0.6, 0.8]])
    np.testing.assert_allclose(documents, [[1 / 3, 2 / 3]])
