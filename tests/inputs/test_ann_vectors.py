"""Files of rows of numbers, as benchmarks of nearest-neighbour search publish them."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from nestvec import Index
from nestvec.cli import main
from nestvec.encode import read_vectors
from nestvec.errors import DataError
from nestvec.inputs import Format, file_format, holds_vectors

FLOATS = np.random.default_rng(0).standard_normal((40, 16)).astype(np.float32)
BYTES = np.random.default_rng(1).integers(0, 256, (40, 16), np.uint8)
SIGNED = BYTES.view(np.int8)
WHOLE = np.random.default_rng(2).integers(-(2**31), 2**31, (40, 16), np.int32)

ROW_BY_ROW = {".fvecs": FLOATS, ".bvecs": BYTES, ".ivecs": WHOLE}
WITH_HEADER = {".fbin": FLOATS, ".u8bin": BYTES, ".i8bin": SIGNED}
KINDS = ROW_BY_ROW | WITH_HEADER


def row_by_row(rows):
    """The bytes that the specification of TEXMEX asks for."""
    return b"".join(struct.pack("<i", len(row)) + row.tobytes() for row in rows)


def with_header(rows):
    """The bytes that the specification of big-ann-benchmarks asks for."""
    return struct.pack("<II", *rows.shape) + rows.tobytes()


def content(suffix):
    return row_by_row(KINDS[suffix]) if suffix in ROW_BY_ROW else with_header(KINDS[suffix])


@pytest.fixture(params=KINDS)
def suffix(request):
    return request.param


@pytest.fixture
def path(suffix, tmp_path):
    path = tmp_path / f"v{suffix}"
    path.write_bytes(content(suffix))
    return path


@pytest.mark.door(".fvecs, .bvecs, .ivecs", "each row is a vector; row numbers are the ids")
@pytest.mark.door(".fbin, .u8bin, .i8bin", "each row is a vector; row numbers are the ids")
def test_rows_are_read_as_they_were_written(path, suffix):
    file = read_vectors(path)
    assert file.vectors.dtype.kind == "f"
    np.testing.assert_array_equal(file.vectors, KINDS[suffix])
    assert file.ids is None
    assert holds_vectors(path)


def test_the_bytes_are_those_that_faiss_writes(tmp_path):
    vecs_io = pytest.importorskip("faiss.contrib.vecs_io")
    vecs_io.fvecs_write(tmp_path / "v.fvecs", FLOATS)
    vecs_io.ivecs_write(tmp_path / "v.ivecs", WHOLE)
    np.testing.assert_array_equal(read_vectors(tmp_path / "v.fvecs").vectors, FLOATS)
    np.testing.assert_array_equal(read_vectors(tmp_path / "v.ivecs").vectors, WHOLE)
    (tmp_path / "v.bvecs").write_bytes(row_by_row(BYTES))
    np.testing.assert_array_equal(vecs_io.bvecs_mmap(tmp_path / "v.bvecs"), BYTES)


@pytest.mark.door("a .fvecs or .fbin file larger than memory", "memory-mapped")
@pytest.mark.parametrize("suffix", [".fvecs", ".fbin"], indirect=True)
def test_floats_are_memory_mapped(path):
    vectors = read_vectors(path).vectors
    assert isinstance(vectors, np.memmap)
    assert not vectors.flags.owndata


@pytest.mark.parametrize("suffix", [".bvecs", ".u8bin", ".i8bin"], indirect=True)
def test_whole_numbers_become_floats_on_disk(path):
    assert isinstance(read_vectors(path).vectors, np.memmap)


def test_ivecs_are_told_to_be_neighbours_perhaps(tmp_path, caplog):
    (tmp_path / "v.ivecs").write_bytes(row_by_row(WHOLE))
    read_vectors(tmp_path / "v.ivecs")
    assert "may be ids of neighbours" in caplog.text


def test_the_name_may_be_in_capitals(suffix, tmp_path):
    (tmp_path / f"V{suffix.upper()}").write_bytes(content(suffix))
    np.testing.assert_array_equal(
        read_vectors(tmp_path / f"V{suffix.upper()}").vectors, KINDS[suffix]
    )


@pytest.mark.door("base.1B.fbin.crop_nb_1000000", "read as .fbin")
def test_the_first_rows_as_big_ann_benchmarks_loads_them(tmp_path):
    path = tmp_path / "base.1B.fbin.crop_nb_40"
    path.write_bytes(with_header(FLOATS))
    np.testing.assert_array_equal(read_vectors(path).vectors, FLOATS)


@pytest.mark.door("a .fvecs or .fbin file that is cut short", "an error that says so")
@pytest.mark.parametrize("n_bytes", [0, 3, 7, 41, 501, -1])
def test_a_file_cut_short_is_refused(path, n_bytes):
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(DataError, match=f"{path.name}.*(download it again|check its name)"):
        read_vectors(path)


def test_bytes_after_the_last_row_are_refused(path):
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match=f"{path.name}.*download it again"):
        read_vectors(path)


@pytest.mark.door("a .fvecs file with a row of another dimension", "an error names the row")
@pytest.mark.parametrize("suffix", ROW_BY_ROW, indirect=True)
def test_a_row_of_another_dimension_is_named(path, suffix):
    rows = list(KINDS[suffix])
    rows[7] = rows[7][:-1]
    path.write_bytes(row_by_row(rows))
    with pytest.raises(DataError, match=r"row 7 of .* has 15 dimensions, row 0 has 16"):
        read_vectors(path)


@pytest.mark.parametrize("head", [-5, 0])
@pytest.mark.parametrize("suffix", ROW_BY_ROW, indirect=True)
def test_a_first_row_without_dimensions_is_refused(path, head):
    path.write_bytes(struct.pack("<i", head) + bytes(60))
    with pytest.raises(DataError, match=f"begins with the dimension {head}"):
        read_vectors(path)


@pytest.mark.parametrize("suffix", WITH_HEADER, indirect=True)
def test_a_header_without_rows_is_refused(path):
    path.write_bytes(struct.pack("<II", 0, 16))
    with pytest.raises(DataError, match="no rows"):
        read_vectors(path)


@pytest.mark.door("another file under the name .fvecs or .fbin", "an error that says so")
def test_other_files_under_the_name_are_refused(path, tmp_path):
    path.write_text('{"id": 1, "text": "some text"}\n' * 9)
    with pytest.raises(DataError, match=path.name):
        read_vectors(path)
    np.save(tmp_path / "v.npy", FLOATS)
    path.write_bytes((tmp_path / "v.npy").read_bytes())
    with pytest.raises(DataError, match=r"content of a \.npy file; rename it"):
        read_vectors(path)


def test_a_compressed_file_is_refused(path, suffix):
    packed = Path(f"{path}.gz")
    packed.write_bytes(gzip.compress(content(suffix)))
    with pytest.raises(DataError, match=f"compressed \\{suffix} file; decompress it first"):
        read_vectors(packed)


def test_a_key_is_refused(path):
    with pytest.raises(DataError, match="leave out key='train'"):
        read_vectors(path, "train")


def test_rows_that_begin_like_another_format_stay_rows(tmp_path):
    # A length of eight bytes and a brace begin a .safetensors file.
    first = np.frombuffer(bytes(4) + b"{abc", "<f4")
    (tmp_path / "v.fvecs").write_bytes(row_by_row([first, first]))
    assert file_format(tmp_path / "v.fvecs") is Format.FVECS
    np.testing.assert_array_equal(read_vectors(tmp_path / "v.fvecs").vectors, [first, first])


@pytest.mark.door("a folder of .fvecs or .fbin files", "read as one file, in the order of names")
def test_shards_are_read_as_one_file(tmp_path, suffix):
    rows = KINDS[suffix]
    for number, part in enumerate((rows[:25], rows[25:])):
        write = row_by_row if suffix in ROW_BY_ROW else with_header
        (tmp_path / f"part-{number}{suffix}").write_bytes(write(part))
    np.testing.assert_array_equal(read_vectors(tmp_path).vectors, rows)


def test_an_index_of_the_file_has_its_rows(path, suffix, tmp_path):
    with pytest.raises(SystemExit) as done:
        main(["index", str(path), "-o", str(tmp_path / "i.nv")])
    assert not done.value.code
    index = Index.open(tmp_path / "i.nv")
    np.testing.assert_array_equal(index.vectors, KINDS[suffix].astype(np.float32))
    assert index.ids.tolist() == list(range(40))


def test_a_missing_file_is_named(tmp_path, suffix):
    with pytest.raises(DataError, match="there is no file"):
        read_vectors(tmp_path / f"none{suffix}")
