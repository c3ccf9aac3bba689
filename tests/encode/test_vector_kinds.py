"""Files of vectors in kinds that tools write: 8-bit, bfloat16, arrays beside, odd ids."""

import json
import logging
import struct

import numpy as np
import pytest

from nestvec import Index
from nestvec.cli import main
from nestvec.data import read_texts
from nestvec.encode import read_vectors
from nestvec.errors import DataError
from nestvec.inputs import holds_vectors

ROWS = np.array([[1.0, -2.5, 0.0], [3.25, 128.0, -0.5]], np.float32)


def write_safetensors(path, tensors):
    """Write tensors of (type, shape, bytes) by hand: no library of the tests has bfloat16."""
    header, body = {}, b""
    for name, (kind, shape, content) in tensors.items():
        offsets = [len(body), len(body) + len(content)]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": offsets}
        body += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


@pytest.mark.door("vectors in bfloat16", "read")
def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path):
    halves = (ROWS.view(np.uint32) >> 16).astype("<u2").tobytes()
    other = np.ones(2, np.float32).tobytes()
    tensors = {"first": ("F32", [2], other), "embeddings": ("BF16", [2, 3], halves)}
    file = read_vectors(write_safetensors(tmp_path / "v.safetensors", tensors))
    assert file.vectors.dtype == np.float32
    assert (file.vectors == ROWS).all()


@pytest.mark.door("vectors of 8-bit whole numbers", "taken as numbers, with a warning")
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_whole_numbers_of_8_bits_are_numbers(tmp_path, dtype, suffix, caplog):
    rows = np.array([[1, 2], [3, 127]], dtype)
    path = tmp_path / f"v.{suffix}"
    np.save(path, rows) if suffix == "npy" else np.savez(path, vectors=rows)
    with caplog.at_level(logging.WARNING, "nestvec.encode"):
        assert (read_vectors(path).vectors == rows.astype(np.float32)).all()
    assert "--packed-bits" in caplog.text


@pytest.mark.door("one matrix among labels and texts", "the matrix is the vectors")
def test_the_only_matrix_is_taken(tmp_path):
    np.savez(tmp_path / "v.npz", labels=np.arange(2), ids=np.array(["a", "b"]), embeddings=ROWS)
    file = read_vectors(tmp_path / "v.npz")
    assert (file.vectors == ROWS).all()
    assert file.ids.tolist() == ["a", "b"]
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"tags": [["x"], ["y", "z"]], "embedding": ROWS.tolist()})
    parquet.write_table(table, tmp_path / "v.parquet")
    assert (read_vectors(tmp_path / "v.parquet").vectors == ROWS).all()


def test_two_matrices_need_a_name(tmp_path):
    np.savez(tmp_path / "v.npz", a=ROWS, b=ROWS)
    with pytest.raises(DataError, match="'a', 'b'; choose one"):
        read_vectors(tmp_path / "v.npz")
    assert (read_vectors(tmp_path / "v.npz", "b").vectors == ROWS).all()


@pytest.mark.door("ids as Python objects", "refused, never unpickled, with the way out")
def test_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "v.npz", ids=np.array(["a", 2], object), embeddings=ROWS)
    with pytest.raises(DataError, match=r"'ids'.*Python objects.*ids\.astype\(str\)"):
        read_vectors(tmp_path / "v.npz")


@pytest.mark.door("ids beyond 64 bits with a sign", "refused with the way out")
def test_ids_beyond_64_bits_are_named(tmp_path):
    np.savez(tmp_path / "v.npz", ids=np.array([1, 2**63], np.uint64), embeddings=ROWS)
    with pytest.raises(DataError, match="9223372036854775808; write ids as texts"):
        read_vectors(tmp_path / "v.npz")


@pytest.mark.door("a row without a vector, or a shorter one", "the row is named")
@pytest.mark.parametrize(
    ("rows", "message"),
    [([[1.0, 2.0], None], "row 1 of 'v' in .* has no vector"),
     ([[1.0, 2.0], [1.0, 2.0], [1.0]], "row 2 of 'v' in .* has 1 numbers, others 2")],
)  # fmt: skip
def test_the_row_without_a_vector_is_named(tmp_path, rows, message):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(
        pyarrow.table({"v": rows}), tmp_path / "v.parquet"
    )
    with pytest.raises(DataError, match=message):
        read_vectors(tmp_path / "v.parquet")


@pytest.mark.door("columns beside the vectors of a .parquet file", "ids, texts and metadata")
def test_columns_beside_vectors_in_parquet_are_kept(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table(
        {
            "doc_id": ["a", "b"], "text": ["one", "two"], "year": [2020, None],
            "tags": [["x"], []], "embedding": ROWS.tolist(),
        }
    )  # fmt: skip
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "v.parquet")
    with pytest.raises(SystemExit):
        main(["index", str(tmp_path / "v.parquet"), "-o", str(tmp_path / "i.nv"), "--json"])
    a, b = Index.open(tmp_path / "i.nv").get(["a", "b"])
    assert (a.text, a.metadata) == ("one", {"year": 2020, "tags": ["x"]})
    assert (b.text, b.metadata) == ("two", {"year": None, "tags": []})


def test_a_parquet_file_of_vectors_alone_has_no_columns(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"v": ROWS.tolist()}), tmp_path / "v.parquet")
    with pytest.raises(SystemExit) as done:
        main(["index", str(tmp_path / "v.parquet"), "-o", str(tmp_path / "i.nv")])
    assert not done.value.code
    assert Index.open(tmp_path / "i.nv").get([0, 1])[0].metadata is None


def test_what_is_not_read_is_said(tmp_path, caplog):
    np.savez(tmp_path / "v.npz", labels=np.arange(2), embeddings=ROWS)
    with caplog.at_level(logging.WARNING, "nestvec.encode"):
        read_vectors(tmp_path / "v.npz")
    assert "did not read 'labels' in" in caplog.text


@pytest.mark.door("texts in a .parquet file without vectors", "encoded as texts")
def test_texts_in_parquet_are_texts(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"_id": ["a", "b"], "text": ["one", "two"], "year": [1, 2]})
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "t.parquet")
    corpus = read_texts(tmp_path / "t.parquet")
    assert (corpus.ids, corpus.texts) == (("a", "b"), ("one", "two"))
    assert corpus.metadata == ({"year": 1}, {"year": 2})
    assert not holds_vectors(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + bytes(20))
    with pytest.raises(DataError, match=r"t\.parquet"):
        read_texts(tmp_path / "t.parquet")


# --- packed bits ---

BITS = np.random.default_rng(3).random((50, 64)) < 0.5


def packed(kind):
    """The bits as the "ubinary" or "binary" precision of Sentence Transformers packs them."""
    bytes_ = np.packbits(BITS, axis=1)
    return bytes_ if kind == "ubinary" else (bytes_.astype(np.int16) - 128).astype(np.int8)


@pytest.mark.door("binary embeddings, eight bits to a byte", "--packed-bits reads +1 and −1")
@pytest.mark.parametrize("kind", ["ubinary", "binary"])
@pytest.mark.parametrize("suffix", [".npy", ".jsonl", ".parquet"])
def test_packed_bits_become_signs(tmp_path, kind, suffix, caplog):
    path = tmp_path / f"v{suffix}"
    if suffix == ".npy":
        np.save(path, packed(kind))
    elif suffix == ".jsonl":
        path.write_text("".join(f'{{"vector": {row.tolist()}}}\n' for row in packed(kind)))
    else:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.table({"vector": list(packed(kind))}), path)
    vectors = read_vectors(path, packed_bits=True).vectors
    np.testing.assert_array_equal(vectors, np.where(BITS, 1, -1).astype(np.float32))
    assert not caplog.records


def test_sentence_transformers_packs_so():
    quantize = pytest.importorskip("sentence_transformers.quantization").quantize_embeddings
    floats = np.where(BITS, 0.5, -0.5).astype(np.float32)
    for kind in ("ubinary", "binary"):
        np.testing.assert_array_equal(quantize(floats, kind), packed(kind))


@pytest.mark.parametrize("rows", [[[0.5] * 8], [[300] * 8], [[-1, 200]]])
def test_what_is_no_byte_is_not_unpacked(tmp_path, rows):
    np.save(tmp_path / "v.npy", np.array(rows, np.float32))
    with pytest.raises(DataError, match="which are no packed bits"):
        read_vectors(tmp_path / "v.npy", packed_bits=True)


def test_an_index_of_packed_bits(tmp_path, capsys):
    np.save(tmp_path / "v.npy", packed("ubinary"))
    arguments = ["index", str(tmp_path / "v.npy"), "-o", str(tmp_path / "x.nv"), "--packed-bits"]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code
    assert Index.open(tmp_path / "x.nv").dim == 64
