"""Tables of other libraries become indexes."""

import datetime
import logging

import numpy as np
import pytest

from nestvec import Document, Index
from nestvec.errors import InputError, VectorsError

VECTORS = [[1.0, 0.0, 2.0], [0.0, 1.0, 0.5], [0.25, 0.5, 1.0]]
COLUMNS = {
    "doc_id": ["a", "b", "c"],
    "text": ["one", None, "three"],
    "tags": [[1], [2, 3], []],
    "emb": VECTORS,
    "day": [datetime.date(2020, 1, day) for day in (1, 2, 3)],
}


def _table(kind):
    library, _, form = kind.partition(" ")
    module = pytest.importorskip(library)
    if library == "pyarrow":
        table = module.table(COLUMNS)
        return table.to_reader() if form == "reader" else table
    if library == "datasets":
        return module.Dataset.from_dict(COLUMNS)
    frame = module.DataFrame(COLUMNS)
    return frame.set_index("doc_id") if form == "index" else frame


@pytest.mark.door("a table of pandas, Polars, Arrow or datasets", "an index of its columns")
@pytest.mark.parametrize(
    "kind", ["pandas", "pandas index", "polars", "pyarrow", "pyarrow reader", "datasets"]
)
def test_columns_become_what_they_are(kind, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "nestvec"):
        index = Index.from_table(_table(kind), tmp_path / "a.nv", metric="cosine")
    assert "'emb'; ids doc_id; texts text; metadata tags, day" in caplog.text
    assert np.array_equal(index.vectors, np.array(VECTORS, np.float32))
    assert index.metric == "cosine"
    assert index.get(["a", "b"]) == [
        Document("a", "one", {"tags": [1], "day": "2020-01-01"}),
        Document("b", None, {"tags": [2, 3], "day": "2020-01-02"}),
    ]


@pytest.mark.door("a table with other names", "the columns that are named")
def test_named_columns(tmp_path):
    table = {"n": [7, 8], "v": VECTORS[:2], "w": VECTORS[1:], "body": ["x", "y"], "year": [1, 2]}
    with pytest.raises(InputError, match=r"'v', 'w' hold lists of numbers.*vector_column='v'"):
        Index.from_table(table, tmp_path / "a.nv")
    index = Index.from_table(
        table, tmp_path / "a.nv", vector_column="w", id_column="n", text_column="body",
        metadata_columns=["year"],
    )  # fmt: skip
    assert np.array_equal(index.vectors, np.array(VECTORS[1:], np.float32))
    assert index.get(8) == [Document(8, "y", {"year": 2})]


@pytest.mark.door("a table without a vector in each row", "refused by row or column")
def test_tables_without_vectors_are_refused(tmp_path):
    with pytest.raises(InputError, match="no column 'z'; it has a"):
        Index.from_table({"a": [1]}, tmp_path / "a.nv", vector_column="z")
    with pytest.raises(InputError, match="none of the columns 'a' holds lists"):
        Index.from_table({"a": [1]}, tmp_path / "a.nv")
    with pytest.raises(VectorsError, match=r"'a'\[1\] "):
        Index.from_table({"a": [[1.0, 2.0], None]}, tmp_path / "a.nv")
    with pytest.raises(InputError, match="a int is no table"):
        Index.from_table(3, tmp_path / "a.nv")
