"""Tables and folders of files.

Arrow and Feather files, data sets of Lance, and folders of shards, from the command line too.
"""

import gzip
import json

import numpy as np
import pytest

from nestvec import Index
from nestvec.data import read_texts
from nestvec.encode import read_vectors
from nestvec.errors import DataError
from nestvec.inputs import file_format, read_records

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROWS = np.random.default_rng(0).standard_normal((40, 16)).astype(np.float32)
IDS = [f"d{n}" for n in range(len(ROWS))]


def table(rows=slice(None), **more):
    part = range(len(ROWS))[rows]
    return pa.table(
        {
            "id": [IDS[n] for n in part],
            "text": [f"text {n}" for n in part],
            "year": [1990 + n for n in part],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(ROWS[rows].ravel()), 16),
            **more,
        }
    )


def write_parquet(path, content):
    pq.write_table(content, path, row_group_size=7)


def write_arrow(path, content):
    with pa.ipc.new_file(path, content.schema) as writer:
        writer.write_table(content, max_chunksize=7)


def write_stream(path, content):
    with pa.ipc.new_stream(path, content.schema) as writer:
        writer.write_table(content, max_chunksize=7)


def write_feather(path, content):
    pytest.importorskip("pyarrow.feather").write_feather(content, path)


def write_lance(path, content):
    pytest.importorskip("lance").write_dataset(content, path, max_rows_per_file=15)


WRITERS = {
    "t.parquet": write_parquet,
    "t.arrow": write_arrow,
    "stream.arrow": write_stream,
    "t.feather": write_feather,
    "t.lance": write_lance,
}


@pytest.fixture(params=WRITERS)
def path(request, tmp_path):
    path = tmp_path / request.param
    WRITERS[request.param](path, table())
    return path


@pytest.mark.door(
    "a .parquet, .arrow or .feather file, or a data set of Lance",
    "vectors, ids, texts and metadata are read in one pass",
)
def test_all_tables_make_the_same_index(path, tmp_path, run):
    outcome = run("index", path, "-o", tmp_path / "x.nv", "--json")
    assert outcome.json["columns"] == {"text": ["text"], "id": "id", "metadata": ["year"]}
    index = Index.open(tmp_path / "x.nv")
    assert list(index.ids) == IDS
    hits = index.search(ROWS[[3]], k=1, exact=True)
    (document,) = index.get(hits.ids[0])
    assert (document.id, document.text, document.metadata) == ("d3", "text 3", {"year": 1993})


def test_vectors_and_records_of_all_tables_are_those_written(path):
    read = read_vectors(path)
    np.testing.assert_array_equal(read.vectors, ROWS)
    assert read.ids.tolist() == IDS
    assert [record["year"] for _, record in read_records(path)] == list(range(1990, 2030))


def test_an_index_is_built_of_the_path_of_a_table(path, tmp_path):
    index = Index.from_table(path, tmp_path / "x.nv", metadata_columns=["year"])
    assert list(index.ids) == IDS
    assert index.get(["d3"])[0].metadata == {"year": 1993}
    np.testing.assert_array_equal(index.vectors, ROWS)


def test_vectors_of_a_table_are_stacked_on_disk(path):
    assert isinstance(read_vectors(path).vectors, np.memmap)


@pytest.mark.parametrize(("row", "problem"), [(None, "no vector"), ([1.0], "1 numbers, others 16")])
def test_the_row_without_a_vector_is_named_in_any_batch(row, problem, tmp_path):
    rows = ROWS.tolist()
    rows[23] = row
    write_parquet(tmp_path / "t.parquet", pa.table({"vector": rows}))
    with pytest.raises(DataError, match=f"row 23 of 'vector' in .* has {problem}"):
        read_vectors(tmp_path / "t.parquet")


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_metric_is_an_option(metric, tmp_path, run):
    np.save(tmp_path / "v.npy", ROWS)
    run("index", tmp_path / "v.npy", "-o", tmp_path / "x.nv", "--metric", metric)
    assert Index.open(tmp_path / "x.nv").metric == metric


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "stream.arrow"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_tables_cut_short_are_errors(name, share, tmp_path):
    path = tmp_path / name
    WRITERS[name](path, table())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"t\.parquet|t\.arrow|stream\.arrow"):
        read_vectors(path)


@pytest.mark.parametrize("name", ["no.parquet", "no.arrow", "no.lance"])
def test_a_table_that_is_not_there_is_called_missing(name, tmp_path):
    for read in (read_vectors, read_texts, lambda path: Index.from_table(path, tmp_path / "x.nv")):
        with pytest.raises(DataError, match=r"no file|No such file"):
            read(tmp_path / name)


@pytest.mark.door("a Feather file of version 1", "an error that asks for version 2")
def test_old_feather_is_named(tmp_path):
    path = tmp_path / "old.feather"
    path.write_bytes(b"FEA1" + bytes(40))
    with pytest.raises(DataError, match="version 1; write it again as version 2"):
        read_vectors(path)


# --- columns of many types ---


@pytest.mark.door("a column of bytes, as of images, beside vectors", "named and left out")
def test_columns_of_bytes_are_named_and_left_out(tmp_path, run, caplog):
    image = [{"bytes": b"\xff", "path": "a.jpg"}] * len(ROWS)
    write_parquet(tmp_path / "t.parquet", table(raw=[b"x"] * len(ROWS), image=image))
    assert not run("index", tmp_path / "t.parquet", "-o", tmp_path / "x.nv").code
    assert "'raw', 'image' hold bytes and are not read" in caplog.text
    assert Index.open(tmp_path / "x.nv").get(["d3"])[0].metadata == {"year": 1993}


@pytest.mark.door("vectors within a column of structures", "read; --key outer.inner names one")
def test_vectors_within_structures(tmp_path, run):
    rows = [{"embedding": row, "model": "m"} for row in ROWS.tolist()]
    write_parquet(tmp_path / "t.parquet", pa.table({"id": IDS, "data": rows}))
    assert not run("index", tmp_path / "t.parquet", "-o", tmp_path / "x.nv").code
    index = Index.open(tmp_path / "x.nv")
    np.testing.assert_array_equal(index.vectors, ROWS)
    assert index.get(["d3"])[0].metadata == {"data": {"model": "m"}}
    both = table(data=[{"embedding": row} for row in (-ROWS).tolist()])
    write_parquet(tmp_path / "both.parquet", both)
    np.testing.assert_array_equal(read_vectors(tmp_path / "both.parquet").vectors, ROWS)
    read = read_vectors(tmp_path / "both.parquet", "data.embedding")
    np.testing.assert_array_equal(read.vectors, -ROWS)


@pytest.mark.parametrize("kind", ["tensor", "half", "double", "large", "nulls elsewhere"])
def test_vectors_of_all_types_of_lists(kind, tmp_path):
    column = {
        "tensor": lambda: pa.FixedShapeTensorArray.from_numpy_ndarray(ROWS),
        "half": lambda: pa.array(list(ROWS.astype(np.float16)), pa.list_(pa.float16())),
        "double": lambda: pa.array(ROWS.tolist(), pa.list_(pa.float64())),
        "large": lambda: pa.array(ROWS.tolist(), pa.large_list(pa.float32())),
        "nulls elsewhere": lambda: pa.array(ROWS.tolist(), pa.list_(pa.float32())),
    }[kind]()
    content = pa.table({"note": [None] * len(ROWS), "vector": column})
    write_parquet(tmp_path / "t.parquet", content)
    read = read_vectors(tmp_path / "t.parquet").vectors
    np.testing.assert_allclose(read, ROWS, atol=2e-3 if kind == "half" else 0)


# --- folders ---


def shards(folder, writer, suffix, parts=3):
    folder.mkdir()
    for number in range(parts):
        rows = slice(number * 14, min((number + 1) * 14, len(ROWS)))
        writer(folder / f"part-{number:05}{suffix}", table(rows))
    return folder


def write_jsonl(path, content):
    lines = "\n".join(json.dumps(row) for row in content.to_pylist()).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)


def write_npy(path, content):
    np.save(path, np.array(content["vector"].to_pylist(), np.float32))


SHARDS = {
    ".parquet": write_parquet, ".arrow": write_stream, ".jsonl": write_jsonl,
    ".jsonl.gz": write_jsonl,
}  # fmt: skip


@pytest.mark.door("a folder of shards", "read as one file, in the order of the names")
@pytest.mark.parametrize("suffix", SHARDS)
def test_a_folder_of_shards_is_one_file(suffix, tmp_path, run):
    folder = shards(tmp_path / "shards", SHARDS[suffix], suffix)
    (folder / "_SUCCESS").touch()
    (folder / ".part-00000.crc").write_bytes(b"x")
    (folder / "dataset_info.json").write_text("{}")
    run("index", folder, "-o", tmp_path / "x.nv", "--json")
    index = Index.open(tmp_path / "x.nv")
    assert list(index.ids) == IDS
    assert [d.metadata["year"] for d in index.get(IDS)] == list(range(1990, 2030))
    np.testing.assert_array_equal(read_vectors(folder).vectors, ROWS)


def test_shards_of_arrays_are_stacked_on_disk(tmp_path):
    read = read_vectors(shards(tmp_path / "shards", write_npy, ".npy"))
    np.testing.assert_array_equal(read.vectors, ROWS)
    assert isinstance(read.vectors, np.memmap)


def test_an_index_is_built_of_a_folder_of_tables(tmp_path):
    folder = shards(tmp_path / "shards", write_parquet, ".parquet")
    assert list(Index.from_table(folder, tmp_path / "x.nv").ids) == IDS


def test_texts_of_shards_say_where_they_stand(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (folder / "b.jsonl").write_text('{"text": "three"}\n{"text": 4}\n')
    with pytest.raises(DataError, match=r"b\.jsonl, line 2 has 4 as text"):
        read_texts(folder)


def test_plain_lines_of_shards_are_numbered_on(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("one\ntwo\n")
    (folder / "b.txt").write_text("three\n")
    corpus = read_texts(folder)
    assert corpus.ids == (0, 1, 2)
    assert corpus.texts == ("one", "two", "three")


@pytest.mark.door("shards that differ in format, columns or width", "an error names the file")
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jsonl": '{"text": "x"}', "b.tsv": "id\ttext\n1\tx"}, "differ in format"),
        ({"a.tsv": "id\ttext\n1\tx", "b.tsv": "id\tbody\n2\tx"}, r"b\.tsv in .* has the columns"),
        ({"corpus.jsonl": '{"text": "x"}', "queries.jsonl": '{"text": "x"}'}, "retrieval set"),
        ({".hidden": "x"}, "holds no files"),
    ],
)
def test_folders_that_are_no_shards_are_refused(files, message, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_texts(folder)


def test_shards_of_other_widths_are_refused(tmp_path):
    folder = shards(tmp_path / "shards", write_npy, ".npy")
    np.save(folder / "part-00003.npy", ROWS[:, :8].copy())
    with pytest.raises(DataError, match=r"part-00003\.npy has vectors of 8 dimensions"):
        read_vectors(folder)


@pytest.mark.door("an empty shard, as Spark writes", "skipped")
def test_empty_shards_are_skipped(tmp_path):
    folder = shards(tmp_path / "shards", write_parquet, ".parquet")
    write_parquet(folder / "part-00000-empty.parquet", table(slice(0, 0)))
    np.testing.assert_array_equal(read_vectors(folder).vectors, ROWS)
    only = tmp_path / "only"
    only.mkdir()
    for name in "ab":
        write_parquet(only / f"{name}.parquet", table(slice(0, 0)))
    with pytest.raises(DataError, match="has no rows"):
        read_vectors(only)


def test_folders_inside_are_named(tmp_path):
    shards(tmp_path / "train", write_parquet, ".parquet")
    with pytest.raises(DataError, match=r"holds folders, 'train'; name the one to read"):
        file_format(tmp_path)


def test_a_database_of_lance_with_one_table_is_that_table(tmp_path):
    write_lance(tmp_path / "db", table())  # a folder may have any name
    (tmp_path / "lancedb").mkdir()
    write_lance(tmp_path / "lancedb" / "docs.lance", table())
    np.testing.assert_array_equal(read_vectors(tmp_path / "db").vectors, ROWS)
    np.testing.assert_array_equal(read_vectors(tmp_path / "lancedb").vectors, ROWS)
    write_lance(tmp_path / "lancedb" / "more.lance", table())
    with pytest.raises(DataError, match=r"holds tables, 'docs\.lance', 'more\.lance'"):
        read_vectors(tmp_path / "lancedb")


def test_a_folder_of_texts_is_encoded(tmp_path, run):
    pytest.importorskip("torch")
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.txt").write_text(f"a text about {name}\nanother about {name}\n")
    run("encode", folder, "-o", tmp_path / "v.npy")
    assert np.load(tmp_path / "v.npy").shape == (4, 384)
