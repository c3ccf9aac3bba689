"""With Sentence Transformers' trainer: the same loss as theirs, and an evaluator of prefixes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers", minversion="6.1")

from sentence_transformers.sentence_transformer import losses  # noqa: E402

from nestvec.data import Corpus, RetrievalSet  # noqa: E402
from nestvec.errors import InputError  # noqa: E402
from nestvec.train.sentence_transformers import NestedEvaluator, NestedInfoNCELoss  # noqa: E402

DIMS = [32, 4, 16]


def texts(rng, n, shift=0):
    return [" ".join(f"w{w}" for w in (rng.integers(0, 30, 5) + shift)) for _ in range(n)]


def columns(model, rng, n=9):
    return [dict(model.preprocess(texts(rng, n))) for _ in range(3)]


def step(model, loss, features):
    model.zero_grad()
    value = loss([dict(column) for column in features], None)
    value.backward()
    return [value.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def test_it_is_their_matryoshka_loss_plain_and_cached(model, rng):
    model.eval()  # dropout would differ
    features = columns(model, rng)
    theirs = losses.MatryoshkaLoss(model, losses.MultipleNegativesRankingLoss(model), DIMS)
    expected = step(model, theirs, features)
    for mini_batch_size in (None, 4):
        ours = NestedInfoNCELoss(model, DIMS, mini_batch_size=mini_batch_size)
        torch.testing.assert_close(step(model, ours, features), expected, rtol=1e-3, atol=1e-5)


def test_mini_batches_see_the_same_dropout_twice(model, rng):
    model.train()
    features = columns(model, rng)
    loss = NestedInfoNCELoss(model, DIMS, mini_batch_size=4)
    torch.manual_seed(1)
    first = step(model, loss, features)
    torch.manual_seed(1)
    torch.testing.assert_close(step(model, loss, features), first)


def test_the_trainer_trains_every_prefix_and_the_temperature(model, rng, tmp_path):
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("accelerate")
    from sentence_transformers import (
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.base.sampler import BatchSamplers

    anchors = texts(rng, 64)
    # Every word has its translation, 30 further on.
    positives = [" ".join(f"w{int(word[1:]) + 30}" for word in text.split()) for text in anchors]
    numbered = [
        Corpus(tuple(range(64)), tuple(column), ({},) * 64) for column in (positives, anchors)
    ]
    evaluator = NestedEvaluator(RetrievalSet(*numbered, {i: {i: 1} for i in range(64)}), DIMS)
    untrained = evaluator(model)
    loss = NestedInfoNCELoss(model, DIMS, mini_batch_size=8, learn_temperature=True)
    arguments = SentenceTransformerTrainingArguments(
        str(tmp_path), num_train_epochs=15, per_device_train_batch_size=16, learning_rate=5e-3,
        batch_sampler=BatchSamplers.NO_DUPLICATES, report_to="none", save_strategy="no",
        logging_strategy="no", disable_tqdm=True, use_cpu=True, eval_strategy="epoch",
    )  # fmt: skip
    data = datasets.Dataset.from_dict({"anchor": anchors, "positive": positives})
    trainer = SentenceTransformerTrainer(
        model, arguments, train_dataset=data, loss=loss, evaluator=evaluator
    )
    trainer.train()
    trained = evaluator(model)
    for dim in DIMS:
        assert trained[f"ndcg@10_{dim}"] > untrained[f"ndcg@10_{dim}"] + 0.1
    assert loss.get_config_dict()["temperature"] != 0.05
    assert evaluator.primary_metric in trained


def test_the_evaluator_scores_prefix_random_dims_and_pca(model, rng):
    corpus = Corpus(tuple("abcdef"), tuple(texts(rng, 6)), ({},) * 6)
    queries = Corpus(("q",), corpus.texts[2:3], ({},))
    evaluator = NestedEvaluator(RetrievalSet(corpus, queries, {"q": {"c": 1}}), [8, 32], name="t")
    metrics = evaluator(model)
    assert set(metrics) == {
        *(f"t_ndcg@10_{d}{c}" for d in (8, 32) for c in ("", "_random_dims", "_pca")),
        "t_ndcg@10_mean",
    }  # fmt: skip
    np.testing.assert_allclose(list(metrics.values()), 1)  # the query is its document


def test_a_model_that_scores_0_is_evaluated_too(model, rng):
    corpus = Corpus(("a", "b"), ("w1 w2", "w3 w4"), ({},) * 2)
    queries = Corpus(("q",), ("w3 w4",), ({},))  # is the other document
    evaluator = NestedEvaluator(RetrievalSet(corpus, queries, {"q": {"a": 1}}), [8, 32], k=1)
    assert set(evaluator(model).values()) == {0.0}


def test_input_that_cannot_be_split_into_mini_batches_is_refused(model):
    flat = {"input_ids": torch.zeros(7, dtype=torch.int64), "offsets": torch.zeros(2)}
    loss = NestedInfoNCELoss(model, DIMS, mini_batch_size=4)
    with pytest.raises(InputError, match="leave mini_batch_size out"):
        loss([flat, flat], None)
    with pytest.raises(InputError, match="1 or more"):
        NestedInfoNCELoss(model, DIMS, mini_batch_size=0)
    with pytest.raises(InputError, match="temperature=-1"):
        NestedInfoNCELoss(model, DIMS, temperature=-1.0)


def test_a_single_column_is_refused(model, rng):
    with pytest.raises(InputError, match=r"1 column\(s\) holds no pairs"):
        NestedInfoNCELoss(model, DIMS)(columns(model, rng)[:1], None)
