import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from nestvec.encode import read_vectors
from nestvec.errors import DataError, MissingExtraError, VectorsError
from nestvec.vectors import truncate

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

VECTORS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
IDS = ["a", "b", "c", "d", "e", "f"]
SUFFIXES = [".npy", ".npz", ".safetensors", ".parquet", ".jsonl"]


def write(path: Path, vectors=VECTORS, ids=None) -> Path:
    """The same vectors in the format that the suffix names."""
    named = {"vectors": vectors} if ids is None else {"vectors": vectors, "ids": np.asarray(ids)}
    if path.suffix == ".npy":
        np.save(path, vectors)
    elif path.suffix == ".npz":
        np.savez(path, **named)
    elif path.suffix == ".safetensors":
        save_file(named, path)
    elif path.suffix == ".parquet":
        columns = (
            {"vectors": vectors.tolist()}
            if ids is None
            else {"vectors": vectors.tolist(), "id": ids}
        )
        pq.write_table(pa.table(columns), path)
    else:
        records = [{"vector": row} for row in vectors.tolist()]
        for record, row_id in zip(records, ids or [], strict=False):
            record["_id"] = row_id
        path.write_text("\n".join(map(json.dumps, records)))
    return path


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path):
    return tmp_path / f"vectors{request.param}"


# One promise for every format


def test_vectors_come_back_as_written_and_without_ids(path):
    read = read_vectors(write(path))
    np.testing.assert_array_equal(read.vectors, VECTORS)
    assert read.ids is None


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".jsonl"])
def test_ids_of_text_come_along(tmp_path, suffix):
    read = read_vectors(write(tmp_path / f"v{suffix}", ids=IDS))
    np.testing.assert_array_equal(read.vectors, VECTORS)
    assert read.ids.tolist() == IDS


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".jsonl", ".safetensors"])
def test_ids_of_numbers_come_along(tmp_path, suffix):
    read = read_vectors(write(tmp_path / f"v{suffix}", ids=[7, 5, 3, 2, 1, 2**40]))
    assert read.ids.dtype == np.int64
    assert read.ids.tolist() == [7, 5, 3, 2, 1, 2**40]


def test_a_missing_file_is_called_missing(path):
    with pytest.raises(DataError, match="there is no file"):
        read_vectors(path)


def test_an_empty_file_is_never_called_missing(path):
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"; write (the file again|one JSON)"):
        read_vectors(path)


def test_an_empty_folder_holds_no_vectors(path):
    path.mkdir()
    with pytest.raises(DataError, match="holds no files of texts or vectors"):
        read_vectors(path)


@settings(max_examples=30, deadline=None)
@given(suffix=st.sampled_from(SUFFIXES), share=st.floats(0, 0.99))
def test_a_file_that_was_cut_short_is_an_error_or_a_shorter_jsonl(tmp_path_factory, suffix, share):
    path = write(tmp_path_factory.mktemp("cut") / f"v{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    try:
        read = read_vectors(path)
    except DataError as error:
        assert "no file" not in str(error)
    else:
        assert suffix == ".jsonl"  # a cut at the end of a line leaves a good file
        np.testing.assert_array_equal(read.vectors, VECTORS[: len(read.vectors)])


@settings(max_examples=30, deadline=None)
@given(suffix=st.sampled_from(SUFFIXES), junk=st.binary(max_size=200))
def test_junk_is_an_error(tmp_path_factory, suffix, junk):
    path = tmp_path_factory.mktemp("junk") / f"v{suffix}"
    path.write_bytes(junk)
    with pytest.raises(DataError):
        read_vectors(path)


def test_a_file_under_a_wrong_name_is_an_error(tmp_path):
    for suffix in SUFFIXES:
        content = write(tmp_path / f"right{suffix}").read_bytes()
        for wrong in set(SUFFIXES) - {suffix}:
            path = tmp_path / f"wrong{wrong}"
            path.write_bytes(content)
            with pytest.raises(DataError):
                read_vectors(path)


def test_an_unknown_suffix_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(DataError, match=r"none of \.npy, \.npz, .*\.parquet, .*\.jsonl"):
        read_vectors(tmp_path / "vectors.pickle")


# Several arrays


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet"])
def test_of_several_arrays_one_must_be_named(tmp_path, suffix):
    path = tmp_path / f"two{suffix}"
    if suffix == ".npz":
        np.savez(path, long=VECTORS, short=VECTORS[:, :2])
    elif suffix == ".safetensors":
        save_file({"long": VECTORS, "short": VECTORS[:, :2].copy()}, path)
    else:
        pq.write_table(pa.table({"long": VECTORS.tolist(), "short": VECTORS[:, :2].tolist()}), path)
    with pytest.raises(DataError, match="holds 'long', 'short'; choose one with key='long'"):
        read_vectors(path)
    np.testing.assert_allclose(read_vectors(path, "short").vectors, VECTORS[:, :2])
    with pytest.raises(DataError, match="no vectors named 'tall'; it has 'long', 'short'"):
        read_vectors(path, "tall")


def test_a_field_of_any_name_can_be_named(tmp_path):
    path = tmp_path / "v.jsonl"
    path.write_text('{"vector": [1, 2], "embedding": [3.5, 4]}\n\n{"embedding": [5, 6]}\n')
    with pytest.raises(DataError, match=r"line 1 of .* holds 'vector', 'embedding'; choose one"):
        read_vectors(path)
    assert read_vectors(path, "embedding").vectors.tolist() == [[3.5, 4], [5, 6]]


def test_a_npy_has_no_names(tmp_path):
    with pytest.raises(DataError, match="leave out key='x'"):
        read_vectors(write(tmp_path / "v.npy"), "x")


def test_parquet_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "v.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nestvec\[parquet\]'"):
        read_vectors(path)


# What each format may hold


def test_a_npy_is_mapped_not_read(tmp_path):
    assert isinstance(read_vectors(write(tmp_path / "v.npy")).vectors, np.memmap)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_the_float_type_of_the_file_is_kept(tmp_path, suffix, dtype):
    read = read_vectors(write(tmp_path / f"v{suffix}", VECTORS.astype(dtype)))
    np.testing.assert_array_equal(read.vectors, VECTORS.astype(dtype))
    assert read.vectors.dtype == dtype


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_truth_values_and_single_rows_are_not_vectors(tmp_path, suffix):
    with pytest.raises(VectorsError, match="dtype bool"):
        read_vectors(write(tmp_path / f"v{suffix}", np.ones((2, 3), dtype=np.bool_)))
    with pytest.raises(VectorsError, match=r"shape \(3,\)"):
        read_vectors(write(tmp_path / f"v{suffix}", np.ones(3, dtype=np.float32)))


def test_pickled_objects_are_not_loaded(tmp_path):
    objects = np.array([[1.0, None]], dtype=object)
    np.save(tmp_path / "v.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "v.npz", vectors=objects)
    for name in ("v.npy", "v.npz"):
        with pytest.raises(DataError, match=r"cannot be read|never loads"):
            read_vectors(tmp_path / name)


@pytest.mark.parametrize("size", [-1, 4])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_parquet_lists_may_be_fixed_or_not_and_lie_in_several_chunks(tmp_path, size, kind):
    lists = pa.list_(pa.type_for_alias(kind), size)
    exact = VECTORS.astype(kind)
    column = pa.array(list(exact), type=lists)
    path = tmp_path / "v.parquet"
    pq.write_table(pa.table({"text": IDS, "v": column}), path, row_group_size=2)
    np.testing.assert_array_equal(read_vectors(path).vectors, exact)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([[1.0, 2.0], [3.0]], "row 1 .* has 1 numbers, others 2"),
        ([[1.0, 2.0], None], "row 1 .* has no vector"),
        ([[1.0, None]], "missing values"),
        ([], "has no rows"),
    ],
)
def test_ragged_and_missing_parquet_vectors_are_refused(tmp_path, rows, problem):
    path = tmp_path / "v.parquet"
    pq.write_table(pa.table({"v": pa.array(rows, type=pa.list_(pa.float32()))}), path)
    with pytest.raises(DataError, match=problem):
        read_vectors(path)


def test_a_parquet_without_lists_holds_no_vectors(tmp_path):
    pq.write_table(pa.table({"x": [1.0], "y": [2.0]}), tmp_path / "v.parquet")
    with pytest.raises(DataError, match="holds no vectors"):
        read_vectors(tmp_path / "v.parquet")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('{"vector": [1, 2]}\n{"vector": [1', "line 2 is not JSON"),
        ("[1, 2]", "line 1 is not a JSON object"),
        ('{"numbers": [1, 2]}', "none of the usual fields .* only 'numbers'"),
        ('{"vector": [1, 2]}\n{"vector": [1]}', "line 2 of .* has 1 dimensions, others 2"),
        ('{"vector": []}', "not a list of numbers"),
        ('{"vector": ["1", "2"]}', "not a list of numbers"),
        ('{"vector": [[1], [2, 3]]}', "not a list of numbers"),
        ('{"vector": [1, NaN]}', "holds NaN or infinity"),
        ('{"vector": [1, 1e99]}', "holds NaN or infinity"),
        ("\n \n", "has no records"),
    ],
)
def test_a_bad_record_is_found_by_its_line(tmp_path, lines, problem):
    path = tmp_path / "v.jsonl"
    path.write_text(lines)
    with pytest.raises(DataError, match=problem):
        read_vectors(path)


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ([1, "b"], "ids of the types int, str"),
        ([True, False], "types bool"),
        ([1, None], "types NoneType, int"),
    ],
)
def test_ids_of_mixed_or_other_types_are_refused(tmp_path, ids, problem):
    with pytest.raises(DataError, match=problem):
        read_vectors(write(tmp_path / "v.jsonl", VECTORS[:2], ids))


def test_there_must_be_one_id_per_row(tmp_path):
    with pytest.raises(DataError, match="5 ids for 6 rows"):
        read_vectors(write(tmp_path / "v.npz", ids=IDS[:5]))


# A known answer


def test_the_api_shortens_as_truncate_does():
    data = Path(__file__).parents[3] / "shared" / "data" / "vectors" / "openai-movie-vectors.npz"
    if not data.exists():
        pytest.skip("the vectors of the OpenAI API are not at hand")
    full = read_vectors(data, "text_embedding_3_small_1536").vectors
    api = truncate(read_vectors(data, "text_embedding_3_small_256").vectors, 256)
    cosines = (truncate(full, 256).astype(np.float64) * api).sum(axis=1)
    assert full.shape == (62, 1536)
    assert cosines.min() >= 0.999999
