"""The recall of the default plan: measured when an index is built, shown, stored, and dropped."""

import logging

import numpy as np
import pytest

from nestvec import Index

DIM = 48


def clustered(n=3000, seed=3):
    """Unit vectors in clusters, as embeddings are."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((40, DIM))[rng.integers(0, 40, n)]
    rows = (rows + 0.4 * rng.standard_normal((n, DIM))) * np.exp(-np.arange(DIM) / 16)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def isotropic(n=20_000, seed=3):
    """Vectors without any structure."""
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


@pytest.mark.parametrize("metric", ["ip", "cosine", "euclidean"])
def test_it_is_the_recall_of_the_default_plan_on_sampled_rows(tmp_path, metric):
    vectors = isotropic(4000) * np.random.default_rng(0).uniform(0.5, 2, (4000, 1)).astype("f4")
    index = Index.build(vectors, tmp_path / "i.nv", metric=metric)
    sample = np.sort(np.random.default_rng(0).choice(4000, 100, replace=False))
    plan = index.default_plan(10)
    found, exact = (
        [
            [row for row in rows if row != query][:10]
            for query, rows in zip(
                sample, index.search(vectors[sample], 11, **options).rows.tolist(), strict=True
            )
        ]
        for options in ({"plan": plan}, {"exact": True})
    )
    recalls = [len(set(one) & set(other)) / 10 for one, other in zip(found, exact, strict=True)]
    measured = index.default_recall
    assert measured.value == pytest.approx(np.mean(recalls))
    assert measured.low <= measured.value <= measured.high
    assert (measured.n, measured.k, measured.plan) == (100, 10, plan)


@pytest.mark.door("vectors on which the default plan finds little", "measured at build, a warning")
def test_a_low_recall_is_a_warning_and_a_high_one_is_not(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "nestvec.index"):
        good = Index.build(clustered(), tmp_path / "good.nv")
        assert not caplog.messages
        poor = Index.build(isotropic(), tmp_path / "poor.nv")
    assert good.default_recall.value > 0.9 > poor.default_recall.value
    (message,) = caplog.messages
    assert str(poor.default_recall) in message
    assert "tune a plan" in message


def test_it_is_stored_and_holds_until_rows_change(tmp_path):
    index = Index.build(clustered(), tmp_path / "i.nv")
    measured = index.default_recall
    assert Index.open(tmp_path / "i.nv", verify=True).default_recall == measured
    index.delete([5])
    assert index.default_recall is None
    index.compact()
    assert index.default_recall is not None


def test_few_rows_are_not_measured(tmp_path):
    assert Index.build(clustered(999), tmp_path / "i.nv").default_recall is None
    assert Index.build(clustered(1000), tmp_path / "j.nv").default_recall is not None


def test_equal_rows_do_not_count_as_misses(tmp_path):
    vectors = np.repeat(clustered(50), 40, axis=0)
    assert Index.build(vectors, tmp_path / "i.nv").default_recall.value == 1
