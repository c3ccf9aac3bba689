"""Files that commands write: what was encoded, and what was found."""

import json

import numpy as np
import pytest

from nestvec import Index
from nestvec.encode import read_vectors

from .conftest import TEXTS

pytest.importorskip("torch")


@pytest.fixture
def papers(tmp_path):
    """A file of texts with an id and a year each."""
    path = tmp_path / "papers.jsonl"
    rows = (
        {"_id": id_, "text": text, "year": 2000 + n} for n, (id_, text) in enumerate(TEXTS.items())
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def index(papers, tmp_path, run):
    """An index of the papers."""
    run("index", papers, "-o", tmp_path / "papers.nv")
    return Index.open(tmp_path / "papers.nv")


# --- encode ---


@pytest.mark.door(
    "nestvec encode -o FILE.parquet or .jsonl", "vectors with ids, texts and metadata, read again"
)
@pytest.mark.parametrize("name", ["out.parquet", "out.jsonl", "out.jsonl.gz"])
def test_what_was_encoded_is_indexed_with_its_columns(name, papers, index, run, tmp_path):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    outcome = run("encode", papers, "-o", tmp_path / name, "--json")
    assert (outcome.json["rows"], outcome.json["dim"]) == (6, 384)
    run("index", tmp_path / name, "-o", tmp_path / "again.nv", "--model", "/no/such/model")
    again = Index.open(tmp_path / "again.nv")
    assert list(again.ids) == list(index.ids)
    np.testing.assert_array_equal(again.vectors, index.vectors)
    assert again.get(again.ids) == index.get(index.ids)


@pytest.mark.parametrize("name", ["out.npy", "out.npz"])
def test_arrays_hold_the_rows_and_their_ids(name, papers, index, run, tmp_path):
    assert not run("encode", papers, "-o", tmp_path / name).code
    read = read_vectors(tmp_path / name)
    np.testing.assert_array_equal(read.vectors, index.vectors)
    assert (read.ids is None) == (name == "out.npy")
    assert read.ids is None or read.ids.tolist() == list(index.ids)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("out")) == [name]


@pytest.mark.parametrize("name", ["out.txt", "out.csv", "out", "out.parquet.gz"])
def test_another_suffix_is_refused_before_a_model_is_opened(name, papers, refuse, tmp_path):
    message = refuse("encode", papers, "-o", tmp_path / name, "--model", "/no/such/model")
    assert "is named like none of .parquet, .npz, .npy, .safetensors, .jsonl" in message


def test_a_file_that_exists_is_refused_before_a_model_is_opened(papers, refuse, tmp_path):
    (tmp_path / "out.parquet").write_text("mine")
    message = refuse("encode", papers, "-o", tmp_path / "out.parquet", "--model", "/no/such/model")
    assert "exists" in message
    assert (tmp_path / "out.parquet").read_text() == "mine"


# --- search ---

SEARCHED = ("how to bake", "music under water", "-k", "3")


def expected(run, index):
    answers = run("search", index.path, *SEARCHED, "--json").json["queries"]
    return [
        (answer["query"], rank, hit["id"], hit["row"], hit["score"], hit["text"], hit["metadata"])
        for answer in answers
        for rank, hit in enumerate(answer["hits"], 1)
    ]


def read_hits(path):
    """Read a file of hits back as rows of the same form."""
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return [{**row, **row.pop("metadata")} for row in rows]
    pandas = pytest.importorskip("pandas")
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow")
        return pandas.read_parquet(path).to_dict("records")
    return pandas.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",").to_dict("records")


@pytest.mark.door(
    "nestvec search -o FILE.jsonl, .parquet, .csv or .tsv", "a row for each hit, with its text"
)
@pytest.mark.parametrize("name", ["hits.jsonl", "hits.parquet", "hits.csv", "hits.tsv"])
def test_hits_in_a_file_are_those_printed(name, index, run, tmp_path):
    outcome = run("search", index.path, *SEARCHED, "-o", tmp_path / name, "--json")
    assert outcome.json == {"output": str(tmp_path / name), "queries": 2, "hits": 6}
    rows = read_hits(tmp_path / name)
    for row, (query, rank, id_, number, score, text, metadata) in zip(
        rows, expected(run, index), strict=True
    ):
        assert (row["query"], row["rank"], row["id"], row["row"]) == (query, rank, id_, number)
        assert np.float32(row["score"]) == np.float32(score)
        assert (row["text"], row["year"]) == (text, metadata["year"])


def test_hits_of_vectors_are_arrays_with_the_ids_of_the_queries(index, run, tmp_path):
    np.savez(tmp_path / "q.npz", vectors=np.asarray(index.vectors[:4]), ids=np.array(list("wxyz")))
    run(
        "search", index.path, "--vectors", tmp_path / "q.npz", "-k", "2", "--min-score", "0.9",
        "-o", tmp_path / "hits.npz",
    )  # fmt: skip
    with np.load(tmp_path / "hits.npz") as found:
        assert found["queries"].tolist() == list("wxyz")
        assert found["ids"].tolist() == [[id_, ""] for id_ in list(TEXTS)[:4]]
        assert found["rows"].tolist() == [[row, -1] for row in range(4)]


@pytest.mark.parametrize("name", ["hits.jsonl", "hits.parquet", "hits.csv", "hits.tsv"])
def test_a_proof_is_a_column(name, index, run, tmp_path):
    run("search", index.path, *SEARCHED, "--exact", "-o", tmp_path / name)
    assert {row["certified"] for row in read_hits(tmp_path / name)} == {True}


def test_a_proof_is_an_array(index, run, tmp_path):
    run("search", index.path, *SEARCHED, "--exact", "-o", tmp_path / "hits.npz")
    with np.load(tmp_path / "hits.npz") as found:
        assert found["certified"].tolist() == [True, True]


@pytest.mark.door("nestvec search -o FILE.trec", "a run file of TREC, as trec_eval reads it")
def test_a_run_file_is_read_by_trec_eval(index, run, tmp_path):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    np.savez(tmp_path / "q.npz", vectors=np.asarray(index.vectors[:4]), ids=np.array(list("wxyz")))
    run("search", index.path, "--vectors", tmp_path / "q.npz", "-k", "3", "-o", tmp_path / "a.trec")
    with (tmp_path / "a.trec").open() as file:
        found = pytrec_eval.parse_run(file)
    assert {query: len(hits) for query, hits in found.items()} == dict.fromkeys("wxyz", 3)
    qrels = {query: {id_: 1} for query, id_ in zip("wxyz", TEXTS, strict=False)}
    scores = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(found)
    assert {score["recip_rank"] for score in scores.values()} == {1.0}


def test_questions_with_spaces_are_numbered_in_a_run_file(index, run, tmp_path, caplog):
    run("search", index.path, *SEARCHED, "-o", tmp_path / "a.run")
    queries = [line.split()[0] for line in (tmp_path / "a.run").read_text().splitlines()]
    assert queries == ["0"] * 3 + ["1"] * 3
    assert "numbered from 0" in caplog.text


def test_the_fields_to_write_are_chosen(index, run, tmp_path):
    run("search", index.path, *SEARCHED, "-o", tmp_path / "a.csv", "--columns", "year")
    assert (tmp_path / "a.csv").read_text().startswith("query,rank,id,score,row,text,year\n")
    run("search", index.path, *SEARCHED, "-o", tmp_path / "b.csv", "--columns", "none")
    assert (tmp_path / "b.csv").read_text().startswith("query,rank,id,score,row,text\n")


def test_a_bad_target_is_refused_before_the_search(index, refuse, run, tmp_path):
    nowhere = ("--model", "/no/such/model")
    assert "named like none of" in refuse("search", index.path, "q", "-o", "hits.xml", *nowhere)
    (tmp_path / "hits.csv").write_text("mine")
    target = ("-o", tmp_path / "hits.csv")
    assert "exists" in refuse("search", index.path, "q", *target, *nowhere)
    assert (tmp_path / "hits.csv").read_text() == "mine"
    assert not run("search", index.path, "q", *target, "--overwrite").code
    assert (tmp_path / "hits.csv").read_text().startswith("query,")
