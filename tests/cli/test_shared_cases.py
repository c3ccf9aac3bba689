"""Files with the properties of public bug reports.

They lie beside the repository; `README.md` there says what is right for each.
"""

import json
from pathlib import Path

import pytest

from nestvec import Index
from nestvec.data import read_qrels, read_texts

CASES = Path(__file__).parents[3] / "shared" / "cases"
NOWHERE = ("--model", "/no/such/model")

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not at hand")
pytest.importorskip("pyarrow")

VECTORS = {
    "vectors.jsonl.gz": (4, {"text": ["text"], "id": "id", "metadata": ["year"]}),
    "vectors-bom-crlf.jsonl": (4, {"text": ["text"], "id": "id", "metadata": ["year"]}),
    "embeddings-field-and-text.jsonl": (4, {"text": ["text"], "id": "id", "metadata": []}),
    "vectors-with-text-and-metadata.jsonl": (
        4, {"text": ["text"], "id": "id", "metadata": ["year"]}
    ),
    "bf16.safetensors": (40, None),
    "int8.npy": (40, None),
    "lab.safetensors": (40, None),
    "tags.parquet": (40, {"text": ["text"], "id": "id", "metadata": ["year", "tags"]}),
    "docid.parquet": (40, {"text": [], "id": "doc_id", "metadata": []}),
}  # fmt: skip
TEXTS = ["UP.JSONL", "nd.ndjson", "quoted.tsv", "texts.parquet", "nan-metadata.jsonl"]
REFUSED = {
    "lone-surrogate.jsonl": r"line 4 holds the escape \ud83d",
    "objids.npz": "holds Python objects, which nestvec never loads",
    "uint64.parquet": "ids beyond 64 bits with a sign",
    "nullrow.parquet": "row 7 of 'embedding'",
}
JUDGED = ["trec.tsv", "underscore.tsv", "noscore.tsv", "trailing.tsv", "qrels.jsonl"]


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_are_indexed_with_what_stands_beside_them(name, run, tmp_path):
    outcome = run("index", CASES / name, "-o", tmp_path / "x.nv", "--json", *NOWHERE)
    rows, columns = VECTORS[name]
    assert (outcome.json["rows"], outcome.json["dim"]) == (rows, 16)
    assert outcome.json["columns"] == columns


@pytest.mark.parametrize(
    ("name", "message"),
    [("int8.npy", "taken as they are"), ("lab.safetensors", "did not read 'labels'")],
)
def test_what_is_not_read_as_written_is_said(name, message, run, tmp_path, caplog):
    run("index", CASES / name, "-o", tmp_path / "x.nv", *NOWHERE)
    assert any(message in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_read(name):
    corpus = read_texts(CASES / name)
    assert len(corpus) == 20
    assert corpus.texts[3].startswith("sentence 3 about")
    assert '""' not in corpus.texts[3]


def test_nan_in_metadata_is_null(run, tmp_path):
    pytest.importorskip("torch")
    run("index", CASES / "nan-metadata.jsonl", "-o", tmp_path / "x.nv")
    index = Index.open(tmp_path / "x.nv")
    assert index.get(index.ids[-1:])[0].metadata == {"price": None}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_place(name, refuse, tmp_path):
    assert REFUSED[name] in refuse("index", CASES / name, "-o", tmp_path / "x.nv", *NOWHERE)
    assert not (tmp_path / "x.nv").exists()


def test_ids_to_delete_are_read_without_bom_and_line_ends(run, tmp_path, monkeypatch):
    path = tmp_path / "v.jsonl"
    path.write_text("".join(json.dumps({"id": n, "vector": [n, 1.0]}) + "\n" for n in range(6)))
    run("index", path, "-o", tmp_path / "x.nv")
    with (CASES / "ids-bom-crlf.txt").open() as ids:
        monkeypatch.setattr("sys.stdin", ids)
        assert run("delete", tmp_path / "x.nv", "--json").json["deleted"] == 2
    assert list(Index.open(tmp_path / "x.nv").ids) == [0, 1, 2, 5]


@pytest.mark.parametrize("name", [*JUDGED, "missingdoc.tsv"])
def test_judgments_of_every_form_are_read(name, caplog):
    queries, documents = [f"q{n}" for n in range(200)], [f"d{n}" for n in range(200)]
    qrels = read_qrels(CASES / "qrels" / name, queries, documents)
    assert qrels["q1"] == {"d1": 1.0}
    told = [record for record in caplog.records if "left out" in record.getMessage()]
    assert len(told) == (name == "missingdoc.tsv")
