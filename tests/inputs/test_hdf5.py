"""HDF5 files, as ann-benchmarks publishes them."""

import logging
import sys

import numpy as np
import pytest

from nestvec import Index
from nestvec.cli import main
from nestvec.encode import read_vectors
from nestvec.errors import DataError, MissingExtraError
from nestvec.inputs import Format, file_format

h5py = pytest.importorskip("h5py")

ROWS = np.random.default_rng(0).standard_normal((40, 16)).astype(np.float32)


@pytest.fixture
def benchmark(tmp_path):
    """A file with the data sets of ann-benchmarks."""
    path = tmp_path / "glove-16-angular.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs["distance"] = "angular"
        file["train"], file["test"] = ROWS, ROWS[:5]
        file["neighbors"] = np.arange(15, dtype=np.int32).reshape(5, 3)
        file["distances"] = np.ones((5, 3), np.float32)
    return path


@pytest.mark.door("an .hdf5 file of ann-benchmarks", "--key names train or test")
def test_the_key_names_the_data_set(benchmark, caplog):
    file = read_vectors(benchmark, "train")
    np.testing.assert_array_equal(file.vectors, ROWS)
    assert file.ids is None
    assert "did not read 'distances', 'neighbors', 'test'" in caplog.text
    np.testing.assert_array_equal(read_vectors(benchmark, "test").vectors, ROWS[:5])


@pytest.mark.door("several data sets in an .hdf5 file, and no --key", "an error lists their shapes")
def test_several_data_sets_need_a_key(benchmark):
    with pytest.raises(DataError, match=r"'test' \(5, 16\), 'train' \(40, 16\); choose one"):
        read_vectors(benchmark)


@pytest.mark.parametrize("key", ["nowhere", "words", "group", "train/more"])
def test_a_key_that_names_no_matrix_is_refused(benchmark, key):
    with h5py.File(benchmark, "a") as file:
        file["words"] = np.array(["a", "b"], h5py.string_dtype())
        file.create_group("group")
    with pytest.raises(DataError, match=rf"named '{key}'; it has .*'train' \(40, 16\)"):
        read_vectors(benchmark, key)


@pytest.mark.door("an .hdf5 file larger than memory", "a data set in one piece is memory-mapped")
def test_a_data_set_in_one_piece_is_memory_mapped(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w", userblock_size=512) as file:
        file["v"] = ROWS
    vectors = read_vectors(tmp_path / "v.h5").vectors
    assert isinstance(vectors, np.memmap)
    np.testing.assert_array_equal(vectors, ROWS)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [("<f4", {"chunks": (7, 16)}), ("<f4", {"compression": "gzip"}), (">f4", {}), ("<f8", {}),
     ("<f2", {}), ("<i8", {}), ("<i4", {"compression": "lzf"})],
)  # fmt: skip
def test_every_layout_is_read(tmp_path, dtype, options):
    rows = (ROWS * 100).astype(dtype)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("v", data=rows, **options)
    vectors = read_vectors(tmp_path / "v.h5").vectors
    assert vectors.dtype.kind == "f"
    assert vectors.dtype.isnative
    np.testing.assert_array_equal(vectors, rows)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_whole_numbers_of_8_bits_are_numbers(tmp_path, dtype, caplog):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["v"] = np.arange(80, dtype=dtype).reshape(10, 8)
    with caplog.at_level(logging.WARNING, "nestvec.encode"):
        vectors = read_vectors(tmp_path / "v.h5").vectors
    np.testing.assert_array_equal(vectors, np.arange(80).reshape(10, 8))
    assert "with packed_bits" in caplog.text


@pytest.mark.door("ids beside the vectors of an .hdf5 file", "used if there is one per row")
@pytest.mark.parametrize(
    "ids",
    [[f"dé{n}" for n in range(40)], list(range(100, 140)), [b"%d" % n for n in range(40)]],
    ids=["texts", "numbers", "bytes"],
)
@pytest.mark.parametrize("group", ["", "deep/inside/"])
def test_ids_in_the_group_of_the_vectors_are_used(tmp_path, ids, group):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file[f"{group}v"] = ROWS
        file[f"{group}ids"] = ids
    read = read_vectors(tmp_path / "v.h5", f"{group}v" if group else None)
    expected = [id_.decode() if isinstance(id_, bytes) else id_ for id_ in ids]
    assert read.ids.tolist() == expected


def test_ids_of_other_rows_are_not_used(tmp_path, caplog):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["v"], file["ids"] = ROWS, np.arange(39)
    assert read_vectors(tmp_path / "v.h5").ids is None
    assert "did not read 'ids'" in caplog.text


@pytest.mark.parametrize(
    ("ids", "message"),
    [(np.full(40, 0.5), "ids of the type float64"),
     (np.full(40, 2**63, np.uint64), "9223372036854775808; number the rows anew")],
)  # fmt: skip
def test_unusable_ids_are_refused(tmp_path, ids, message):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["v"], file["ids"] = ROWS, ids
    with pytest.raises(DataError, match=message):
        read_vectors(tmp_path / "v.h5")


def test_row_numbers_are_no_ids(tmp_path):
    """Texts beside the vectors may bring better ones."""
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["v"], file["ids"] = ROWS, np.arange(40)
    assert read_vectors(tmp_path / "v.h5").ids is None


def test_a_file_without_matrices_is_refused(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["list"], file["empty"] = np.arange(3.0), h5py.Empty("f4")
        file["bits"] = np.zeros((3, 8), bool)
    with pytest.raises(DataError, match="no 2-D data set of numbers, only 'bits', 'empty', 'list'"):
        read_vectors(tmp_path / "v.h5")


@pytest.mark.parametrize("suffix", [".hdf5", ".h5", ".H5", ".h5ad", ""])
def test_the_content_tells_the_format(tmp_path, suffix):
    with h5py.File(tmp_path / f"v{suffix}", "w") as file:
        file["v"] = ROWS
    assert file_format(tmp_path / f"v{suffix}") is Format.HDF5


@pytest.mark.door("a damaged .hdf5 file", "an error that says so")
@pytest.mark.parametrize("n_bytes", [0, 5, 8, 100, 2000, -1])
def test_a_file_cut_short_is_refused(benchmark, n_bytes):
    benchmark.write_bytes(benchmark.read_bytes()[:n_bytes])
    with pytest.raises(DataError, match=r"cannot be read as \.hdf5"):
        read_vectors(benchmark, "train")


def test_another_file_under_the_name_is_refused(tmp_path):
    (tmp_path / "v.hdf5").write_text("some text\n")
    with pytest.raises(DataError, match=r"cannot be read as \.hdf5"):
        read_vectors(tmp_path / "v.hdf5")


def test_the_extra_is_named_where_h5py_is_missing(benchmark, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"nestvec\[hdf5\]"):
        read_vectors(benchmark, "train")


def test_an_index_of_the_file_has_its_rows_and_ids(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["a/train"], file["a/ids"], file["b"] = ROWS, [f"d{n}" for n in range(40)], ROWS[:2]
    command = ["index", tmp_path / "v.h5", "--key", "a/train", "-o", tmp_path / "i.nv"]
    with pytest.raises(SystemExit) as done:
        main([str(part) for part in command])
    assert not done.value.code
    index = Index.open(tmp_path / "i.nv")
    np.testing.assert_array_equal(index.vectors, ROWS)
    assert index.ids.tolist() == [f"d{n}" for n in range(40)]
