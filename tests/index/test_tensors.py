"""Segment files are safetensors files, mapped."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from nestvec.errors import DamagedIndexError, StorageError
from nestvec.index.storage.tensor_file import (
    CHUNK_BYTES,
    checksums,
    chunks_without,
    damaged_chunk,
    map_tensors,
    write_tensors,
)

ARRAYS = {
    "floats": np.linspace(-1, 1, 15, dtype=np.float32).reshape(3, 5),
    "words": np.arange(2**63, 2**63 + 8, dtype=np.uint64).reshape(2, 2, 2),
    "rows": np.array([-1, 2**31 - 1], np.int32),
    "starts": np.array([-(2**63), 2**63 - 1]),
    "bytes": np.frombuffer("é".encode(), np.uint8),
    "none": np.empty(0, np.int64),
    "no words": np.empty((7, 0), np.uint64),
}


def equal(ours, theirs):
    return ours.keys() == theirs.keys() and all(
        a.dtype == b.dtype and a.shape == b.shape and (a == b).all()
        for a, b in ((ours[name], theirs[name]) for name in ours)
    )


def raw(path, header, data=b""):
    """A file with this header, however wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_what_is_written_is_read(tmp_path):
    write_tensors(tmp_path / "a", ARRAYS)
    assert equal(map_tensors(tmp_path / "a"), ARRAYS)


def test_the_safetensors_package_reads_what_is_written(tmp_path):
    write_tensors(tmp_path / "a", ARRAYS)
    assert equal(load_file(tmp_path / "a"), ARRAYS)


def test_files_of_the_safetensors_package_are_read(tmp_path):
    save_file(ARRAYS, tmp_path / "a", metadata={"made": "elsewhere"})
    assert equal(map_tensors(tmp_path / "a"), ARRAYS)


def test_a_file_without_arrays_is_a_file(tmp_path):
    write_tensors(tmp_path / "a", {})
    assert map_tensors(tmp_path / "a") == load_file(tmp_path / "a") == {}


@pytest.mark.parametrize("name", ["a", "ab", "a" * 63, "é"])
def test_arrays_start_on_a_cache_line(tmp_path, name):
    write_tensors(tmp_path / "a", {name: np.ones(3, np.uint8)})
    (length,) = struct.unpack("<Q", (tmp_path / "a").read_bytes()[:8])
    assert (8 + length) % 64 == 0


def test_mapped_arrays_are_read_only(tmp_path):
    write_tensors(tmp_path / "a", ARRAYS)
    for array in map_tensors(tmp_path / "a").values():
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


def test_an_existing_file_is_not_written_over(tmp_path):
    write_tensors(tmp_path / "a", ARRAYS)
    with pytest.raises(FileExistsError):
        write_tensors(tmp_path / "a", ARRAYS)


def test_every_truncation_is_found(tmp_path):
    write_tensors(tmp_path / "a", ARRAYS)
    data = (tmp_path / "a").read_bytes()
    for length in range(len(data)):
        (tmp_path / "a").write_bytes(data[:length])
        with pytest.raises(DamagedIndexError, match="is damaged"):
            map_tensors(tmp_path / "a")


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"x": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


MALFORMED = {
    "not JSON": b"{",
    "not UTF-8": b'{"\xff": 1}',
    "deep": b"[" * 100_000,
    "a list": [],
    "an entry that is a list": {"x": []},
    "an entry without offsets": {"x": {"dtype": "F32", "shape": [2]}},
    "an unknown dtype": entry("F99"),
    "a size that is not the shape's": entry(shape=[3]),
    "a shape below zero": entry(shape=[-1, -2]),
    "an endless shape": b'{"x":{"dtype":"F32","shape":[1e999],"data_offsets":[0,8]}}',
    "a shape that overflows 64 bits": entry(shape=[2**32, 2**32, 2]),
    "offsets below zero": entry(offsets=[-8, 0]),
    "offsets beyond the file": entry(offsets=[0, 16], shape=[4]),
    "offsets that run backwards": entry(offsets=[8, 0]),
    "one offset": entry(offsets=[8]),
    "bytes that belong to nothing": entry(shape=[1], offsets=[0, 4]),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_header_is_damage(tmp_path, kind):
    path = raw(tmp_path / "a", MALFORMED[kind], bytes(8))
    with pytest.raises(DamagedIndexError, match="is damaged"):
        map_tensors(path)


def test_a_missing_file_is_damage(tmp_path):
    with pytest.raises(DamagedIndexError, match="missing"):
        map_tensors(tmp_path / "none")


def test_a_folder_in_place_of_a_file_cannot_be_read(tmp_path):
    with pytest.raises(StorageError, match="cannot be read"):
        map_tensors(tmp_path)


# --- checksums -----------------------------------------------------------------------------------


def test_a_flipped_bit_is_found_in_its_chunk_and_no_other(tmp_path):
    path = tmp_path / "a"
    write_tensors(path, {"x": np.zeros(5 * CHUNK_BYTES // 2, np.uint8)})
    sums = checksums(path)
    assert len(sums) == 3 * 4
    assert damaged_chunk(path, sums, range(3)) is None
    data = bytearray(path.read_bytes())
    data[CHUNK_BYTES + 5] ^= 16
    path.write_bytes(data)
    assert damaged_chunk(path, sums, range(3)) == 1
    assert damaged_chunk(path, sums, [0, 2]) is None


def test_a_chunk_without_a_checksum_counts_as_damaged(tmp_path):
    path = tmp_path / "a"
    write_tensors(path, {"x": np.zeros(8, np.uint8)})
    assert damaged_chunk(path, b"", [0]) == 0


def test_the_chunks_of_all_but_the_bulk_are_named(tmp_path):
    path = tmp_path / "a"
    mib = np.zeros(CHUNK_BYTES, np.uint8)
    write_tensors(path, {"big": np.tile(mib, 4), "small": mib[:9], "last": mib})
    assert chunks_without(path, ("big", "last")) == [0, 4]
    assert chunks_without(path, ("big",)) == [0, 4, 5]
    assert chunks_without(path, ()) == [0, 1, 2, 3, 4, 5]
    assert chunks_without(path, ("big", "small", "last")) == [0]
