"""Indexes to files and back: what a format holds returns as it was."""

import logging

import numpy as np
import pytest

from nestvec import Index
from nestvec.cli import main
from nestvec.errors import InputError, StorageError


@pytest.fixture
def small(tmp_path):
    """An index of several segments, with a deleted row."""
    vectors = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    rows = range(50)
    index = Index.build(
        vectors[:40], tmp_path / "small.nv", ids=[f"é{row}" for row in rows[:40]],
        texts=[f"text {row} ü" for row in rows[:40]],
        metadata=[{"year": 2000 + row, "tags": ["a", str(row)]} for row in rows[:40]],
    )  # fmt: skip
    index.add(
        vectors[40:], ids=[f"é{row}" for row in rows[40:]],
        texts=[f"text {row} ü" for row in rows[40:]],
        metadata=[{"year": 2000 + row, "tags": []} for row in rows[40:]],
    )  # fmt: skip
    index.delete("é3")
    return index


def _read_back(path, folder, *options):
    with pytest.raises(SystemExit) as exit_:
        main(["index", str(path), "-o", str(folder), "--model", "minilm", *options])
    assert not exit_.value.code
    return Index.open(folder)


@pytest.mark.door("an index exported to .jsonl or .jsonl.gz", "read back: the same rows")
@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "OUT.NDJSON"])
def test_lines_hold_all_of_an_index(small, tmp_path, name):
    small.export(tmp_path / name)
    again = _read_back(tmp_path / name, tmp_path / "again.nv")
    assert again.ids.tolist() == small.ids.tolist()
    assert np.array_equal(again.vectors, small.vectors)
    assert again.get(again.ids) == small.get(small.ids)


@pytest.mark.door("an index exported to .npz", "read back: the same vectors and ids")
def test_npz_holds_vectors_and_ids(small, tmp_path, caplog):
    small.export(tmp_path / "out.npz")
    assert "holds no texts or metadata" in caplog.text
    again = _read_back(tmp_path / "out.npz", tmp_path / "again.nv")
    assert again.ids.tolist() == small.ids.tolist()
    assert np.array_equal(again.vectors, small.vectors)


@pytest.mark.door("an index exported to .parquet", "one column per metadata field")
def test_parquet_has_a_column_for_each_field(small, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    small.export(tmp_path / "out.parquet")
    records = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    documents = small.get(small.ids)
    assert [r.pop("id") for r in records] == [d.id for d in documents]
    assert [r.pop("text") for r in records] == [d.text for d in documents]
    assert np.array_equal([r.pop("vector") for r in records], small.vectors)
    assert records == [d.metadata for d in documents]
    again = _read_back(tmp_path / "out.parquet", tmp_path / "again.nv", "--key", "vector")
    assert again.ids.tolist() == small.ids.tolist()
    assert np.array_equal(again.vectors, small.vectors)


@pytest.mark.door("an index exported to .npy or .safetensors", "its vectors, and what is lost")
@pytest.mark.parametrize("name", ["out.npy", "out.safetensors"])
def test_arrays_of_vectors(small, tmp_path, caplog, name):
    small.export(tmp_path / name)
    assert "holds no ids or texts or metadata" in caplog.text
    again = _read_back(tmp_path / name, tmp_path / "again.nv")
    assert np.array_equal(again.vectors, small.vectors)


def test_safetensors_holds_ids_that_are_numbers(tmp_path, caplog):
    ids = [5, 7, 2**40]
    index = Index.build(np.eye(3, 5, dtype=np.float32), tmp_path / "a.nv", ids=ids)
    with caplog.at_level(logging.WARNING, "nestvec.index.export"):
        index.export(tmp_path / "out.safetensors")
    assert "out.safetensors" not in caplog.text
    assert _read_back(tmp_path / "out.safetensors", tmp_path / "b.nv").ids.tolist() == ids


def test_an_existing_file_stays_unless_overwritten(small, tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("mine")
    with pytest.raises(StorageError, match="exists"):
        small.export(path)
    assert path.read_text() == "mine"
    small.export(path, overwrite=True)
    assert len(path.read_text().splitlines()) == len(small)


def test_a_failed_export_leaves_nothing(tmp_path):
    metadata = [{"a": 1}, {"a": "one"}]
    index = Index.build(np.eye(2, dtype=np.float32), tmp_path / "a.nv", metadata=metadata)
    with pytest.raises(InputError, match=r"'a' has values of several types.*\.jsonl"):
        index.export(tmp_path / "out.parquet")
    with pytest.raises(InputError, match=r"none of .*\.jsonl"):
        index.export(tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nv"]
