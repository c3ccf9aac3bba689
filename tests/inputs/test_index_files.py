"""Index files of FAISS, USearch and hnswlib."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from nestvec import Index
from nestvec.cli import main
from nestvec.encode import read_vectors
from nestvec.errors import DataError, MissingExtraError
from nestvec.inputs import Format, file_format, holds_vectors

faiss = pytest.importorskip("faiss")
usearch = pytest.importorskip("usearch.index")

DIM = 16
ROWS = np.random.default_rng(0).standard_normal((300, DIM)).astype(np.float32)
IDS = np.random.default_rng(1).permutation(300) * 3 + 2**33
BITS = np.random.default_rng(2).integers(0, 256, (60, 4), np.uint8)
SIGNS = np.unpackbits(BITS, axis=1).astype(np.float32) * 2 - 1


def index_of(*command):
    """The index that a command builds."""
    with pytest.raises(SystemExit) as done:
        main([str(part) for part in command])
    assert not done.value.code
    return Index.open(command[-1])


# FAISS. Its index_factory is not called: USearch, loaded before it, breaks that.


def few_clusters(index):
    index.cp.min_points_per_centroid = 1  # else training warns on standard error
    return index


def ivf(kind, *more):
    index = kind(faiss.IndexFlatL2(DIM), DIM, 4, *more)
    if hasattr(index, "pq"):
        index.pq.cp.min_points_per_centroid = 1
    return few_clusters(index)


def product_quantizer():
    index = faiss.IndexPQ(DIM, 4, 4)
    index.pq.cp.min_points_per_centroid = 1
    return index


EXACT = {
    "flat": lambda: faiss.IndexFlatL2(DIM),
    "inner product": lambda: faiss.IndexFlatIP(DIM),
    "hnsw": lambda: faiss.IndexHNSWFlat(DIM, 8),
    "refined": lambda: faiss.IndexRefineFlat(product_quantizer()),
}
WITH_IDS = {
    "idmap": lambda: faiss.IndexIDMap(faiss.IndexFlatL2(DIM)),
    "idmap2": lambda: faiss.IndexIDMap2(faiss.IndexFlatIP(DIM)),
    "idmap of hnsw": lambda: faiss.IndexIDMap(faiss.IndexHNSWFlat(DIM, 8)),
    "idmap of ivf": lambda: faiss.IndexIDMap(ivf(faiss.IndexIVFFlat)),
    "ivf": lambda: ivf(faiss.IndexIVFFlat),
}
COMPRESSED = {
    "pq": product_quantizer,
    "sq": lambda: faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_8bit),
    "fp16": lambda: faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_fp16),
    "ivf pq": lambda: ivf(faiss.IndexIVFPQ, 4, 4),
    "ivf sq": lambda: ivf(faiss.IndexIVFScalarQuantizer, faiss.ScalarQuantizer.QT_8bit),
    "hnsw sq": lambda: faiss.IndexHNSWSQ(DIM, faiss.ScalarQuantizer.QT_8bit, 8),
    "rotated": lambda: faiss.IndexPreTransform(
        faiss.RandomRotationMatrix(DIM, DIM), faiss.IndexFlatL2(DIM)
    ),
}


def write_faiss(path, index, ids=None):
    """Train, fill and write an index."""
    index.train(ROWS)
    index.add(ROWS) if ids is None else index.add_with_ids(ROWS, ids)
    faiss.write_index(index, str(path))
    return path


def write_binary(path, index, ids=None):
    index.train(BITS)
    index.add(BITS) if ids is None else index.add_with_ids(BITS, ids)
    faiss.write_index_binary(index, str(path))
    return path


@pytest.mark.door("an index of FAISS: flat, HNSW, IVF", "its vectors, and its ids if it has some")
@pytest.mark.parametrize("kind", EXACT)
def test_vectors_of_faiss_are_those_that_were_added(tmp_path, kind, caplog):
    file = read_vectors(write_faiss(tmp_path / "v.faiss", EXACT[kind]()))
    np.testing.assert_array_equal(file.vectors, ROWS)
    assert file.ids is None
    assert caplog.text == ""


@pytest.mark.parametrize("kind", WITH_IDS)
def test_ids_of_faiss_are_kept(tmp_path, kind, caplog):
    file = read_vectors(write_faiss(tmp_path / "v.faiss", WITH_IDS[kind](), IDS))
    order = np.argsort(IDS) if kind == "ivf" else slice(None)
    np.testing.assert_array_equal(file.ids, IDS[order])
    np.testing.assert_array_equal(file.vectors, ROWS[order])
    assert caplog.text == ""


@pytest.mark.door("a compressed index of FAISS: PQ, SQ, PCA", "approximations, with a warning")
@pytest.mark.parametrize("kind", COMPRESSED)
def test_compressed_vectors_of_faiss_are_approximations(tmp_path, kind, caplog):
    file = read_vectors(write_faiss(tmp_path / "v.faiss", COMPRESSED[kind]()))
    assert file.ids is None
    assert file.vectors.shape == ROWS.shape
    similarity = np.corrcoef(file.vectors.ravel(), ROWS.ravel())[0, 1]
    assert similarity > (0.8 if "pq" in kind else 0.999)
    assert "approximations of those that were added" in caplog.text


@pytest.mark.door("an index of FAISS that gives no vectors back", "an error names its kind")
def test_a_kind_without_a_way_back_is_refused(tmp_path):
    index = faiss.IndexIVFPQFastScan(faiss.IndexFlatL2(DIM), DIM, 4, 4, 4)
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
    with pytest.raises(DataError, match="IndexIVFPQFastScan, which FAISS cannot take vectors out"):
        read_vectors(write_faiss(tmp_path / "v.faiss", index))


@pytest.mark.door("an index of FAISS whose parts differ in dimension", "an error, and no crash")
@pytest.mark.parametrize("dim", [0, 8, 24])
@pytest.mark.parametrize("kind", [*WITH_IDS, "refined", "rotated", "ivf pq", "hnsw sq", "pq"])
def test_parts_that_differ_in_dimension_are_refused(tmp_path, kind, dim):
    index = (EXACT | WITH_IDS | COMPRESSED)[kind]()
    path = write_faiss(tmp_path / "v.faiss", index, IDS if kind in WITH_IDS else None)
    change(path, 4, dim)
    with pytest.raises(DataError, match=path.name):
        read_vectors(path)


def test_ids_that_repeat_in_an_inverted_file_are_refused(tmp_path):
    ids = np.where(np.arange(300) == 7, 8, np.arange(300))
    with pytest.raises(DataError, match=r"v\.faiss': the id 8 comes more than once"):
        read_vectors(write_faiss(tmp_path / "v.faiss", ivf(faiss.IndexIVFFlat), ids))


BINARY = {
    "flat": lambda: faiss.IndexBinaryFlat(32),
    "hnsw": lambda: faiss.IndexBinaryHNSW(32, 8),
    "idmap": lambda: faiss.IndexBinaryIDMap(faiss.IndexBinaryFlat(32)),
    "ivf": lambda: few_clusters(faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(32), 32, 2)),
}


@pytest.mark.door("a binary index of FAISS or USearch", "needs --packed-bits, then +1 and −1")
@pytest.mark.parametrize("kind", BINARY)
def test_bits_of_faiss_become_signs(tmp_path, kind):
    ids = IDS[:60] if kind in ("idmap", "ivf") else None
    path = write_binary(tmp_path / "v.faiss", BINARY[kind](), ids)
    with pytest.raises(DataError, match=r"holds bits.*--packed-bits"):
        read_vectors(path)
    file = read_vectors(path, packed_bits=True)
    order = np.argsort(ids) if kind == "ivf" else slice(None)
    np.testing.assert_array_equal(file.vectors, SIGNS[order])
    np.testing.assert_array_equal(file.ids, None if ids is None else ids[order])


def test_a_binary_kind_without_a_way_back_is_refused(tmp_path):
    path = write_binary(tmp_path / "v.faiss", faiss.IndexBinaryHash(32, 4))
    with pytest.raises(DataError, match="IndexBinaryHash, which FAISS cannot take vectors out"):
        read_vectors(path, packed_bits=True)


def test_an_empty_index_of_faiss_is_refused(tmp_path):
    faiss.write_index(faiss.IndexFlatL2(DIM), str(tmp_path / "v.faiss"))
    with pytest.raises(DataError, match="index without rows"):
        read_vectors(tmp_path / "v.faiss")


def test_texts_that_begin_like_faiss_are_texts(tmp_path):
    (tmp_path / "v.csv").write_text("IxF2,text\n1,a long line of words that fills the head\n")
    assert file_format(tmp_path / "v.csv") is Format.CSV
    assert not holds_vectors(tmp_path / "v.csv")


def test_an_index_of_faiss_is_indexed_under_its_ids(tmp_path):
    path = write_faiss(tmp_path / "v.index", WITH_IDS["ivf"](), IDS)
    index = index_of("index", path, "-o", tmp_path / "i.nv")
    order = np.argsort(IDS)
    np.testing.assert_array_equal(index.ids, IDS[order])
    np.testing.assert_array_equal(index.vectors, ROWS[order])


# USearch


def write_usearch(path, dtype="f32", rows=ROWS, ids=IDS, **options):
    index = usearch.Index(ndim=options.pop("ndim", DIM), dtype=dtype, **options)
    index.add(ids.astype(np.uint64), rows)
    index.save(str(path))
    return path


@pytest.mark.door("an index of USearch", "its vectors, with its keys as ids")
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("metric", ["cos", "l2sq"])
def test_vectors_of_usearch_have_their_keys(tmp_path, dtype, metric, caplog):
    file = read_vectors(write_usearch(tmp_path / "v.usearch", dtype, metric=metric))
    order = np.argsort(IDS)
    np.testing.assert_array_equal(file.ids, IDS[order])
    np.testing.assert_array_equal(file.vectors, ROWS[order])
    assert caplog.text == ""


@pytest.mark.parametrize(("dtype", "error"), [("f16", 2**-11), ("bf16", 2**-8), ("i8", 0.05)])
def test_small_numbers_of_usearch_are_approximations(tmp_path, dtype, error, caplog):
    rows = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    file = read_vectors(write_usearch(tmp_path / "v.usearch", dtype, rows, np.arange(300)))
    np.testing.assert_allclose(file.vectors, rows, rtol=0, atol=error)
    assert f"stores numbers as {dtype}: its vectors are approximations" in caplog.text


def test_keys_that_are_row_numbers_are_no_ids(tmp_path):
    file = read_vectors(write_usearch(tmp_path / "v.usearch", ids=np.arange(300)))
    np.testing.assert_array_equal(file.vectors, ROWS)
    assert file.ids is None


def test_removed_keys_of_usearch_are_left_out(tmp_path):
    index = usearch.Index(ndim=DIM, dtype="f32")
    index.add(np.arange(300), ROWS)
    index.remove(7)
    index.save(str(tmp_path / "v.usearch"))
    file = read_vectors(tmp_path / "v.usearch")
    np.testing.assert_array_equal(file.ids, np.delete(np.arange(300), 7))
    np.testing.assert_array_equal(file.vectors, np.delete(ROWS, 7, axis=0))


def test_several_vectors_under_a_key_repeat_it(tmp_path):
    ids = np.array([5, 5, 9])
    file = read_vectors(write_usearch(tmp_path / "v.usearch", rows=ROWS[:3], ids=ids, multi=True))
    assert file.ids.tolist() == [5, 5, 9]
    assert sorted(map(tuple, file.vectors)) == sorted(map(tuple, ROWS[:3]))


def test_bits_of_usearch_become_signs(tmp_path):
    path = tmp_path / "v.usearch"
    write_usearch(path, "b1", BITS, np.arange(60), ndim=32, metric="hamming")
    with pytest.raises(DataError, match=r"holds bits.*--packed-bits"):
        read_vectors(path)
    np.testing.assert_array_equal(read_vectors(path, packed_bits=True).vectors, SIGNS)


@pytest.mark.parametrize("key", [2**63, 2**64 - 2])
def test_keys_beyond_64_bits_with_a_sign_are_refused(tmp_path, key):
    ids = np.array([1, key], np.uint64)
    with pytest.raises(DataError, match=f"{key}; number the rows anew"):
        read_vectors(write_usearch(tmp_path / "v.usearch", rows=ROWS[:2], ids=ids))


def test_an_empty_index_of_usearch_is_refused(tmp_path):
    usearch.Index(ndim=DIM).save(str(tmp_path / "v.usearch"))
    with pytest.raises(DataError, match="index without rows"):
        read_vectors(tmp_path / "v.usearch")


def test_an_index_of_usearch_is_indexed_under_its_keys(tmp_path):
    path = write_usearch(tmp_path / "v.bin")
    index = index_of("index", path, "-o", tmp_path / "i.nv")
    order = np.argsort(IDS)
    np.testing.assert_array_equal(index.ids, IDS[order])
    np.testing.assert_array_equal(index.vectors, ROWS[order])


# hnswlib

HNSWLIB = Path(__file__).parents[1] / "golden" / "hnswlib_index.hnsw"
HNSWLIB_ROWS = (np.arange(60, dtype=np.float32).reshape(12, 5) % 7) - 3  # golden/make_hnswlib.py
LABELS = np.arange(12) * 11 + 100
LIVE = LABELS != 122
MARK = 96 + 2 * 80 + 2  # header, two rows, and the bytes before the mark of the third


@pytest.fixture
def hnswlib(tmp_path):
    return Path(shutil.copy(HNSWLIB, tmp_path / "v.hnsw"))


@pytest.mark.door("an index of hnswlib", "its vectors but for deleted ones; labels are the ids")
def test_deleted_rows_of_hnswlib_are_left_out(hnswlib, caplog):
    file = read_vectors(hnswlib)
    np.testing.assert_array_equal(file.vectors, HNSWLIB_ROWS[LIVE])
    np.testing.assert_array_equal(file.ids, LABELS[LIVE])
    assert "1 of the 12 rows in" in caplog.text


def change(path, offset, value):
    """Write another byte at a place of a file."""
    content = bytearray(path.read_bytes())
    content[offset] = value
    path.write_bytes(content)


def test_an_index_of_hnswlib_without_deleted_rows_is_memory_mapped(hnswlib, caplog):
    change(hnswlib, MARK, 0)
    file = read_vectors(hnswlib)
    np.testing.assert_array_equal(file.vectors, HNSWLIB_ROWS)
    np.testing.assert_array_equal(file.ids, LABELS)
    assert isinstance(file.vectors, np.memmap)
    assert not file.vectors.flags.owndata
    assert caplog.text == ""


def test_an_index_whose_rows_are_all_deleted_is_refused(hnswlib):
    for row in range(12):
        change(hnswlib, 96 + 80 * row + 2, 1)
    with pytest.raises(DataError, match=r"all 12 rows of .* are deleted"):
        read_vectors(hnswlib)


@pytest.mark.parametrize("name", ["v.hnsw", "v.hnswlib", "index.bin", "index"])
def test_the_header_tells_hnswlib_under_any_name(hnswlib, name):
    change(hnswlib, 8, ord("{"))  # room for 123 rows: .safetensors files begin so
    path = hnswlib.rename(hnswlib.with_name(name))
    assert file_format(path) is Format.HNSWLIB
    assert len(read_vectors(path).vectors) == 11


@pytest.mark.parametrize("offset", [0, 16, 24, 32, 40, 52, 64, 72, 87])
def test_a_header_that_contradicts_itself_is_refused(hnswlib, offset):
    change(hnswlib, offset, 201)
    with pytest.raises(DataError, match="no whole index of hnswlib"):
        read_vectors(hnswlib)


def test_bytes_after_the_last_row_of_hnswlib_are_refused(hnswlib):
    hnswlib.write_bytes(hnswlib.read_bytes() + bytes(5))
    with pytest.raises(DataError, match="5 bytes after its last row"):
        read_vectors(hnswlib)


def test_an_index_of_hnswlib_is_indexed_under_its_labels(hnswlib, tmp_path):
    index = index_of("index", hnswlib, "-o", tmp_path / "i.nv")
    np.testing.assert_array_equal(index.ids, LABELS[LIVE])
    np.testing.assert_array_equal(index.vectors, HNSWLIB_ROWS[LIVE])


# All


@pytest.fixture(params=["faiss", "binary faiss", "usearch", "hnsw"])
def index_file(request, tmp_path):
    path = tmp_path / f"v.{request.param.split()[-1]}"
    if request.param == "faiss":
        return write_faiss(path, WITH_IDS["idmap"](), IDS)
    if request.param == "binary faiss":
        return write_binary(path, BINARY["flat"]())
    return write_usearch(path) if request.param == "usearch" else Path(shutil.copy(HNSWLIB, path))


@pytest.mark.door("an index file that is cut short", "an error that says so")
@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.3, 0.5, 0.9, 1.0])
def test_an_index_file_cut_short_is_refused(index_file, share):
    content = index_file.read_bytes()
    index_file.write_bytes(content[: min(int(len(content) * share), len(content) - 1)])
    with pytest.raises(DataError, match=index_file.name):
        read_vectors(index_file)


def test_another_file_under_the_name_of_an_index_is_refused(index_file):
    index_file.write_text("some text, and no index of a library at all\n" * 9)
    with pytest.raises(DataError, match=index_file.name):
        read_vectors(index_file)


@pytest.mark.door("a folder of index files", "read as one file; all of them have ids, or none")
@pytest.mark.parametrize("first_id", [0, 1000])
def test_a_folder_of_index_files_is_read_as_one(tmp_path, first_id):
    ids = np.arange(300) + first_id
    write_usearch(tmp_path / "a.usearch", rows=ROWS[:100], ids=ids[:100])
    write_usearch(tmp_path / "b.usearch", rows=ROWS[100:], ids=ids[100:])
    file = read_vectors(tmp_path)
    np.testing.assert_array_equal(file.vectors, ROWS)
    np.testing.assert_array_equal(file.ids, ids if first_id else None)


def test_a_folder_with_and_without_ids_is_refused(tmp_path):
    write_faiss(tmp_path / "a.faiss", WITH_IDS["idmap"](), IDS)
    write_faiss(tmp_path / "b.faiss", EXACT["flat"]())
    with pytest.raises(DataError, match=r"b\.faiss has no ids, and other files of .* have some"):
        read_vectors(tmp_path)


@pytest.mark.parametrize(("module", "extra"), [("faiss", "faiss"), ("usearch.index", "usearch")])
def test_the_extra_is_named_where_a_library_is_missing(tmp_path, monkeypatch, module, extra):
    path = tmp_path / f"v.{extra}"
    write_faiss(path, EXACT["flat"]()) if extra == "faiss" else write_usearch(path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"nestvec\[{extra}\]"):
        read_vectors(path)


@pytest.mark.door("queries in an index file, to search by", "searched under their ids")
def test_queries_may_be_an_index_file(hnswlib, tmp_path, capsys):
    index_of("index", hnswlib, "-o", tmp_path / "i.nv")
    capsys.readouterr()
    with pytest.raises(SystemExit) as done:
        main(["search", str(tmp_path / "i.nv"), "--vectors", str(hnswlib), "-k", "1"])
    assert not done.value.code
    assert "221" in capsys.readouterr().out
