"""What building promises: everything stored as given, whole or not at all."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from nestvec import Index
from nestvec.errors import IdsError, InputError, StorageError, VectorsError
from nestvec.index.storage import writer_lock
from nestvec.index.storage.catalog import NAME
from nestvec.index.storage.coded_segment import codes_name
from nestvec.index.storage.segment_rows import vectors_name
from nestvec.index.storage.tensor_file import map_tensors
from nestvec.vectors import MAX_ENTRY

CODES, VECTORS = codes_name(1), vectors_name(1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "i.nv"


@pytest.fixture
def vectors(rng):
    return rng.standard_normal((70, 20)).astype(np.float32)


def contents(folder):
    """The bytes of all files but the lock, which says who wrote last."""
    files = sorted(file for file in folder.iterdir() if file.name != writer_lock.NAME)
    return {file.name: file.read_bytes() for file in files}


# --- what is stored ------------------------------------------------------------------------------


def test_vectors_are_stored_to_the_last_bit(vectors, path):
    vectors[0, :3] = -0.0, 1e-45, MAX_ENTRY  # signed zero, the smallest number, the largest allowed
    index = Index.build(vectors, path)
    assert index.vectors.tobytes() == Index.open(path).vectors.tobytes() == vectors.tobytes()
    assert (len(index), index.dim) == vectors.shape


def test_equal_input_and_seed_give_equal_files(corpus, tmp_path):
    for name in "ab":
        Index.build(corpus[0], tmp_path / name, seed=5, texts=["x"] * len(corpus[0]))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_another_seed_gives_other_cells(corpus, tmp_path):
    for seed in range(2):
        Index.build(corpus[0], tmp_path / str(seed), seed=seed)
    one, other = (map_tensors(tmp_path / seed / CODES)["centroids"] for seed in "01")
    assert (one != other).any()


def test_a_memory_map_gives_the_same_files(corpus, tmp_path):
    np.save(tmp_path / "v.npy", corpus[0])
    Index.build(corpus[0], tmp_path / "memory")
    Index.build(np.load(tmp_path / "v.npy", mmap_mode="r"), tmp_path / "mapped")
    assert contents(tmp_path / "memory") == contents(tmp_path / "mapped")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_the_same_values_in_another_dtype_give_the_same_files(vectors, dtype, tmp_path):
    rounded = vectors.astype(np.float16)
    Index.build(rounded.astype(np.float32), tmp_path / "a")
    Index.build(rounded.astype(dtype), tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_strides_do_not_matter(vectors, tmp_path):
    Index.build(vectors, tmp_path / "a")
    Index.build(np.asfortranarray(vectors), tmp_path / "b")
    Index.build(np.repeat(vectors, 2, axis=0)[::2], tmp_path / "c")
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 63, 64, 65])
@pytest.mark.parametrize("dim", [1, 63, 65, 130])
@pytest.mark.parametrize("rotation", ["pca", "none"])
def test_few_rows_of_any_width_can_be_searched(n, dim, rotation, path, rng):
    vectors = rng.standard_normal((n, dim)).astype(np.float32)
    index = Index.build(vectors, path, rotation=rotation)
    hits = index.search(vectors[:1], n)
    assert sorted(hits.rows[0].tolist()) == list(range(n))


def test_no_rows_make_an_index_that_has_no_answers(path):
    index = Index.build(np.empty((0, 8), np.float32), path)
    assert len(index) == len(Index.open(path, verify=True)) == 0
    assert index.search(np.ones((1, 8), np.float32), 1)[0] == []


@pytest.mark.parametrize("kind", ["zero", "equal", "flat", "front zero"])
def test_rows_without_spread_can_be_searched(kind, path, rng):
    vectors = np.zeros((100, 192), np.float32)
    if kind == "equal":
        vectors[:] = 3
    if kind == "flat":  # five directions of 192
        mixing = rng.standard_normal((5, 192))
        vectors = (rng.standard_normal((100, 5)) @ mixing).astype(np.float32)
    if kind == "front zero":
        vectors[:, 128:] = rng.standard_normal((100, 64))
    for rotation in ("pca", "none"):
        index = Index.build(vectors, path, rotation=rotation, bits=0.5, overwrite=True)
        hits = index.search(vectors[:2], 5)
        exact = index.search(vectors[:2], 5, plan="probe=all; full")
        assert hits.scores[0, 0] == pytest.approx(exact.scores[0, 0], rel=1e-6)


def test_rows_that_the_codes_say_nothing_about_can_be_searched(path):
    # All bits go to the front, where some rows have next to nothing: their factor has no bound.
    vectors = np.zeros((64, 128), np.float32)
    vectors[:, 0] = np.where(np.arange(64) % 2, 1, -1)
    vectors[7] = 0
    vectors[7, :64], vectors[7, 127] = 1e-44, 1
    index = Index.build(vectors, path, rotation="none", bits=0.5)
    hits = index.search(vectors[7:8], 1, plan="probe=all; full")
    assert hits.rows[0, 0] == 7
    assert len(set(index.search(vectors[7:8], 64).rows[0].tolist())) == 64


@pytest.mark.parametrize("ids", [None, [f"é{i}" for i in range(69)]])
def test_every_array_is_aligned_to_its_numbers(ids, path, rng):
    # Odd sizes all round: a kernel may be compiled to rely on it.
    vectors = rng.standard_normal((69, 13)).astype(np.float32)
    Index.build(vectors, path, ids=ids)
    for file in (CODES, VECTORS):
        assert all(array.flags.aligned for array in map_tensors(path / file).values())


# --- ids, texts, metadata ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [
        list(range(70)),
        [-(2**63), *range(68), 2**63 - 1],
        list(np.arange(70)),
        np.arange(70, dtype=np.uint8),
        [f"id {i}" for i in range(70)],
        ["", "é", "日本", "a\0b", *map(str, range(66))],
        np.array([f"n{i}" for i in range(70)]),
        list(np.array([f"n{i}" for i in range(70)])),
    ],
    ids=["ints", "wide", "list of numpy ints", "array", "strings", "unicode", "U array", "np.str_"],
)
def test_ids_come_back_as_they_were_given(ids, vectors, path):
    built = Index.build(vectors, path, ids=ids)
    for index in (built, Index.open(path, verify=True)):
        assert index.ids.tolist() == list(ids)
        assert [document.id for document in index.snapshot.documents(range(70))] == list(ids)
        hits = index.search(vectors[:5], 1)
        assert hits.ids[:, 0].tolist() == list(ids)[:5]


def test_rows_are_numbered_where_no_ids_are_given(vectors, path):
    assert Index.build(vectors, path).ids.tolist() == list(range(70))


def test_texts_and_metadata_come_back_as_they_were_given(vectors, path):
    texts = ["", "é日本 🦆", "a\0b", None, *["x"] * 66]
    metadata = [{"ü": [1, 2.5, None, {"deep": "é\ud800"}]}, *[{}] * 69]
    index = Index.build(vectors, path, texts=texts, metadata=metadata)
    documents = index.snapshot.documents(np.arange(70))
    assert [document.text for document in documents] == texts
    assert [document.metadata for document in documents] == metadata


def test_documents_are_given_in_the_order_asked_for(vectors, path):
    index = Index.build(vectors, path, texts=[str(i) for i in range(70)])
    assert [document.text for document in index.snapshot.documents([5, 3, 5])] == ["5", "3", "5"]
    assert index.snapshot.documents([5])[0].metadata is None
    assert index.snapshot.documents([]) == []


@pytest.mark.parametrize("row", [-1, 70, 2**70])
def test_a_row_that_does_not_exist_is_refused(vectors, path, row):
    index = Index.build(vectors, path)
    with pytest.raises(InputError, match=f"no row {row}"):
        index.snapshot.documents([row])


WRONG_IDS = {
    "69 ids were given for 70": list(range(69)),
    "id 3 occurs more than once": [3, *range(69)],
    "id 'a' occurs more than once": ["a"] * 70,
    "of type int, str": ["a", *range(69)],
    "of type bool, int": [True, *range(2, 71)],
    "of type float": [i / 2 for i in range(70)],
    "of type NoneType": [None] * 70,
    "of type list": [[i] for i in range(70)],
    "64 bits": [2**63, *range(69)],
    "UTF-8": ["\ud800", *map(str, range(69))],
}


@pytest.mark.parametrize("message", WRONG_IDS)
def test_wrong_ids_are_refused(message, vectors, path):
    with pytest.raises(IdsError, match=message):
        Index.build(vectors, path, ids=WRONG_IDS[message])
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ["x"] * 69}, "69 texts were given for 70 vectors"),
        ({"metadata": [{}] * 71}, "71 metadata records were given for 70 vectors"),
        ({"texts": [*["x"] * 69, "\ud800"]}, r"texts\[69\]"),
        ({"metadata": [{}, {"x": object()}, *[{}] * 68]}, r"metadata\[1\] is not a JSON object"),
        ({"model": {"name": object()}}, "model"),
    ],
)
def test_texts_and_metadata_that_cannot_be_stored_are_refused(arguments, message, vectors, path):
    with pytest.raises(InputError, match=message):
        Index.build(vectors, path, **arguments)
    assert not list(path.parent.iterdir())


# --- what may not be indexed ---------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 2 * MAX_ENTRY, 1e300])
def test_values_that_cannot_be_searched_are_refused_by_row(wrong, vectors, path):
    vectors = vectors.astype(float)
    vectors[33, 4] = wrong
    with pytest.raises(VectorsError, match=r"vectors\[33\]"):
        Index.build(vectors, path)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [np.ones((5, 4), bool), np.ones(4), np.ones((1, 5, 4)), np.ones((5, 0)), np.ones((5, 4), "c8")],
)
def test_other_dtypes_and_ranks_are_refused(wrong, path):
    with pytest.raises(VectorsError, match="vectors have"):
        Index.build(wrong, path)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"rotation": "PCA"}, "rotation='PCA'.*pca, none"),
        ({"bits": 0.0}, "bits=0.0"),
        ({"bits": 8.1}, "bits=8.1"),
        ({"bits": float("nan")}, "bits=nan"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": True}, "seed=True"),
    ],
)
def test_options_out_of_range_are_refused(option, message, vectors, path):
    with pytest.raises(InputError, match=message):
        Index.build(vectors, path, **option)
    assert not path.exists()


# --- whole or not at all -------------------------------------------------------------------------


@pytest.mark.parametrize("passes", [0, 1, 2])
def test_an_interrupted_build_leaves_nothing(passes, vectors, path, stopping_after):
    with pytest.raises(KeyboardInterrupt):
        Index.build(vectors, path, progress=stopping_after(70 * passes))
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("passes", [0, 1, 2])
def test_an_interrupted_overwrite_leaves_the_old_index(passes, vectors, path, stopping_after):
    Index.build(vectors, path)
    before = contents(path)
    with pytest.raises(KeyboardInterrupt):
        Index.build(vectors * 2, path, overwrite=True, progress=stopping_after(70 * passes))
    assert contents(path) == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["i.nv", "[i]*.nv"])
def test_a_killed_build_leaves_no_index_and_the_next_build_sweeps_up(name, vectors, tmp_path):
    path = tmp_path / name
    command = [sys.executable, str(Path(__file__).with_name("build_slowly.py")), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as building:
        assert building.stdout.readline() == "begun\n"
        (left,) = tmp_path.iterdir()
        Index.build(vectors, tmp_path / "other.nv")
        assert left.exists()  # another's, and still being written
        building.kill()
    assert not path.exists()
    with pytest.raises(StorageError, match="is not a nestvec index"):
        Index.open(left)
    Index.build(vectors, path)
    assert sorted(tmp_path.iterdir()) == sorted([path, tmp_path / "other.nv"])


def test_progress_counts_every_row_three_times(vectors, path):
    seen = []

    @contextmanager
    def progress(description, total):
        seen.append(total)
        yield seen.append

    Index.build(vectors, path, progress=progress)
    assert seen[0] == sum(seen[1:]) == 3 * len(vectors)


def test_an_existing_index_is_kept_unless_told_otherwise(vectors, path):
    Index.build(vectors, path)
    before = contents(path)
    with pytest.raises(StorageError, match=r"i\.nv exists.*overwrite=True"):
        Index.build(vectors * 2, path)
    assert contents(path) == before
    assert (Index.build(vectors * 2, path, overwrite=True).vectors == vectors * 2).all()
    assert list(path.parent.iterdir()) == [path]


def test_a_replaced_index_goes_on_answering_those_who_have_it_open(vectors, path):
    old = Index.build(vectors, path)
    Index.build(-vectors, path, overwrite=True)
    assert (old.search(vectors, 1, plan="probe=all; full").rows[:, 0] == np.arange(70)).all()
    assert (old.vectors == vectors).all()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_overwriting_replaces_nothing_but_an_index(kind, vectors, path):
    if kind == "folder":
        path.mkdir()
        foreign = path / "thesis.txt"
    else:
        foreign = path
    foreign.write_text("years of work")
    with pytest.raises(StorageError, match="replaces nothing else"):
        Index.build(vectors, path, overwrite=True)
    assert foreign.read_text() == "years of work"


def test_missing_folders_on_the_way_are_made(vectors, tmp_path):
    assert len(Index.build(vectors, tmp_path / "a" / "b" / "i.nv")) == 70


def test_a_place_that_cannot_be_written_to_is_refused(vectors, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write an index at"):
        Index.build(vectors, tmp_path / "file" / "i.nv")


def test_an_index_is_a_folder_of_three_files(vectors, path):
    Index.build(vectors, path)
    assert sorted(contents(path)) == sorted([NAME, CODES, VECTORS])


def test_an_index_that_a_killed_overwrite_set_aside_is_kept_while_nothing_replaces_it(
    vectors, tmp_path
):
    path = tmp_path / "corpus.nv"
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    Index.build(vectors, path)
    aside = tmp_path / f".corpus.nv.building-{finished.pid}-0-replaced"
    path.rename(aside)  # where a kill between the two renames of an overwrite leaves it
    with pytest.raises(VectorsError):
        Index.build(np.full((1, 2), np.nan), path)
    assert len(Index.open(aside)) == len(vectors)
    Index.build(vectors, path)
    Index.build(vectors, path, overwrite=True)
    assert not aside.exists()
