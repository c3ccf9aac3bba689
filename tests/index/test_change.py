"""Adding, deleting, updating, compacting: what every generation answers, and to whom."""

import shutil
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nestvec import Index
from nestvec.errors import IdsError, InputError, LockedError, StorageError, VectorsError
from nestvec.index.snapshot import CODED, FLAT
from nestvec.index.storage.writer_lock import writer_lock
from nestvec.index.writer import FLAT_ROWS

EXACT = "probe=all; full"


def whole(rng, n, dim=8):
    """Small whole numbers: float32 is exact on them, and ties are many."""
    return rng.integers(-2, 3, (n, dim)).astype(np.float32)


def answers(index, queries, k):
    hits = index.search(queries, k, plan=EXACT)
    return hits.ids.tolist(), hits.scores.tolist()


def layouts(index):
    return [part.entry.layout for part in index.snapshot.parts]


@pytest.fixture
def base(tmp_path, rng):
    """3,000 rows with ids 0..2999, texts and metadata; and their vectors."""
    vectors = whole(rng, 3000)
    texts = [f"text {row}" for row in range(3000)]
    metadata = [{"row": row} for row in range(3000)]
    return Index.build(vectors, tmp_path / "i.nv", texts=texts, metadata=metadata), vectors


# --- one law: an index that was changed answers as one built of what is left ---------------------


class Changes(RuleBasedStateMachine):
    """Any sequence of changes, against a list of (id, vector, text) in order of insertion."""

    kind = "int"

    def __init__(self):
        super().__init__()
        self.folder = Changes.make_folder("changes")
        self.rng = np.random.default_rng(3)
        vectors = whole(self.rng, 40)
        self.rows = [(self.name(i), v, None) for i, v in enumerate(vectors)]
        self.fresh = 40
        ids = [id_ for id_, *_ in self.rows]
        self.index = Index.build(vectors, self.folder / "i.nv", ids=ids)
        self.reader = Index.open(self.index.path)

    def name(self, number):
        return number * 3 if self.kind == "int" else f"é{number}"

    def some(self, share):
        return [row for row in self.rows if self.rng.random() < share]

    @rule(count=st.integers(0, 60))
    def add(self, count):
        vectors = whole(self.rng, count)
        new = [(self.name(self.fresh + i), v, f"t{i}") for i, v in enumerate(vectors)]
        self.fresh += count
        self.index.add(vectors, ids=[id_ for id_, *_ in new], texts=[text for *_, text in new])
        self.rows += new

    @rule(share=st.sampled_from([0.0, 0.1, 0.6, 1.0]))
    def delete(self, share):
        gone = {id_ for id_, *_ in self.some(share)}
        self.index.delete(sorted(gone))
        self.rows = [row for row in self.rows if row[0] not in gone]

    @rule(share=st.sampled_from([0.05, 0.5]), texts=st.booleans())
    def update(self, share, texts):
        chosen = self.some(share)
        vectors = whole(self.rng, len(chosen))
        ids = [id_ for id_, *_ in chosen]
        new_texts = [f"u{i}" for i in range(len(ids))] if texts else [text for *_, text in chosen]
        self.index.update(vectors, ids=ids, texts=new_texts if texts else None)
        self.rows = [row for row in self.rows if row[0] not in set(ids)]
        self.rows += list(zip(ids, vectors, new_texts, strict=True))

    @rule()
    def compact(self):
        self.index.compact()
        assert layouts(self.index) == [CODED] * bool(self.rows)

    @rule()
    def open_again(self):
        self.index = Index.open(self.index.path, verify=True)

    @precondition(lambda self: self.rows)
    @invariant()
    def answers_as_if_built_of_what_is_left(self):
        ids, vectors, texts = zip(*self.rows, strict=True)
        queries = whole(np.random.default_rng(5), 3)
        scores = queries @ np.stack(vectors).T
        order = np.argsort(-scores, axis=1, kind="stable")
        k = min(10, len(ids))
        self.reader.refresh()
        for index in (self.index, self.reader):
            hits = index.search(queries, k, plan=EXACT)
            assert hits.ids.tolist() == [[ids[i] for i in line[:k]] for line in order]
            assert (hits.scores == np.take_along_axis(scores, order, 1)[:, :k]).all()
            documents = index.snapshot.documents(hits.rows[0])
            assert [d.id for d in documents] == hits.ids[0].tolist()
            assert [d.text for d in documents] == [texts[i] for i in order[0, :k]]

    @invariant()
    def holds_what_is_left(self):
        assert len(self.index) == len(self.rows)
        assert self.index.ids.tolist() == [id_ for id_, *_ in self.rows]
        if self.rows:
            assert (self.index.vectors == np.stack([v for _, v, _ in self.rows])).all()

    def teardown(self):
        Index.open(self.index.path, verify=True)
        shutil.rmtree(self.folder)


class StringChanges(Changes):
    """The same with string ids."""

    kind = "str"


@pytest.mark.parametrize("machine", [Changes, StringChanges])
def test_any_changes_leave_an_index_that_answers_as_one_built_of_what_is_left(
    machine, tmp_path_factory, soak
):
    Changes.make_folder = staticmethod(tmp_path_factory.mktemp)
    machine.TestCase.settings = settings(
        max_examples=500 if soak else 8, stateful_step_count=12, deadline=None
    )
    machine.TestCase().runTest()


def test_a_compacted_index_has_the_files_of_one_built_of_what_is_left(base, tmp_path, rng):
    index, vectors = base
    more = whole(rng, 2500)
    index.add(more)
    index.delete(range(0, 5500, 7))
    index.compact()
    left = np.setdiff1d(np.arange(5500), np.arange(0, 5500, 7))
    built = Index.build(np.concatenate([vectors, more])[left], tmp_path / "new.nv", ids=left)
    (part,), (other,) = index.snapshot.parts, built.snapshot.parts
    queries = whole(rng, 20)
    for plan in (None, EXACT, "probe=5; 8x1:40 > full"):
        one, two = (i.search(queries, 10, plan=plan) for i in (index, built))
        assert (one.ids == two.ids).all()
        assert (one.scores == two.scores).all()
        assert one.stats == two.stats
    assert part.entry.rows == other.entry.rows


# --- segments ------------------------------------------------------------------------------------


def test_few_new_rows_stay_flat_and_many_are_coded(base, rng):
    index, _ = base
    index.add(whole(rng, 100))
    assert layouts(index) == [CODED, FLAT]
    index.add(whole(rng, FLAT_ROWS))
    assert layouts(index) == [CODED]  # small next to what was added: taken in
    index.add(whole(rng, 10))
    assert layouts(index) == [CODED, FLAT]


def test_one_row_at_a_time_makes_few_segments(base, rng):
    index, _ = base
    for _ in range(70):
        index.add(whole(rng, 1))
    assert len(index.snapshot.parts) <= 1 + np.log2(70)
    assert len(list(index.path.glob("*.vectors.*"))) == len(index.snapshot.parts)


def test_deleted_rows_take_no_places_among_the_answers(base):
    index, vectors = base
    query = vectors[:1]
    best = index.search(query, 50).ids[0]
    index.delete(best[:40])
    for plan in (None, EXACT):
        hits = index.search(query, 10, plan=plan)
        assert not set(hits.ids[0].tolist()) & set(best[:40].tolist())
        assert len(set(hits.ids[0].tolist())) == 10
    assert answers(index, query, 10)[0][0] == answers_without(vectors, query, best[:40], 10)


def answers_without(vectors, query, gone, k):
    scores = (query @ vectors.T)[0]
    scores[gone] = -np.inf
    return np.argsort(-scores, kind="stable")[:k].tolist()


def test_row_numbers_are_never_given_twice(base, rng):
    index, vectors = base
    index.delete([2999])
    index.add(whole(rng, 1))
    index.compact()
    assert index.search(vectors[:1], 3000, plan=EXACT).rows.max() == 3000
    assert index.ids.tolist() == [*range(2999), 3000]
    with pytest.raises(InputError, match="no row 2999"):
        index.snapshot.documents([2999])


# --- ids, documents ------------------------------------------------------------------------------


def test_an_id_in_use_is_refused_and_nothing_changes(base, rng):
    index, _ = base
    before = index.generation
    with pytest.raises(IdsError, match=r"id 7 is in the index, which has 2 of these 3 ids.*update"):
        index.add(whole(rng, 3), ids=[5000, 7, 8])
    with pytest.raises(IdsError, match="of type int"):
        index.add(whole(rng, 1), ids=["a"])
    index.refresh()
    assert (index.generation, len(index)) == (before, 3000)


def test_the_id_of_a_deleted_row_can_be_given_again(base, rng):
    index, _ = base
    index.delete([7])
    index.add(whole(rng, 1), ids=[7], texts=["again"])
    assert index.snapshot.documents([3000])[0].text == "again"


@pytest.mark.parametrize("change", ["delete", "update"])
def test_ids_that_are_not_there_are_named_and_nothing_changes(base, change, rng):
    index, _ = base
    with pytest.raises(IdsError, match=r"id 9000 is not in the index, which lacks 1 of these 2"):
        if change == "delete":
            index.delete([5, 9000])
        else:
            index.update(whole(rng, 2), ids=[5, 9000])
    assert len(Index.open(index.path)) == 3000


def test_an_update_keeps_what_it_is_not_given(base, rng):
    index, vectors = base
    new = whole(rng, 1)
    index.update(new, ids=[5])
    index.update(ids=[6], texts=["six"])
    index.update(ids=[7], metadata=[{"seven": 7}])
    five, six, seven = index.snapshot.documents([3000, 3001, 3002])
    assert (five.id, five.text, five.metadata) == (5, "text 5", {"row": 5})
    assert (six.id, six.text, six.metadata) == (6, "six", {"row": 6})
    assert (seven.id, seven.text, seven.metadata) == (7, "text 7", {"seven": 7})
    assert (index.vectors[-3:] == np.concatenate([new, vectors[6:8]])).all()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"vectors": np.ones((2, 9), np.float32)}, VectorsError),
        ({"vectors": np.full((2, 8), np.nan, np.float32)}, VectorsError),
        ({"ids": [1]}, IdsError),
        ({"ids": [9001, 9001]}, IdsError),
        ({"texts": ["one"]}, InputError),
        ({"texts": ["one", "\ud800"]}, InputError),
        ({"metadata": [{}, {"x": object()}]}, InputError),
    ],
)
def test_what_cannot_be_added_changes_nothing(base, arguments, error, rng):
    index, _ = base
    files = {file.name for file in index.path.iterdir()}
    with pytest.raises(error):
        index.add(**{"vectors": whole(rng, 2), "ids": [9000, 9001], **arguments})
    assert {file.name for file in index.path.iterdir()} <= files | {"writer.lock"}
    index.add(whole(rng, 2), ids=[9000, 9001])
    assert len(Index.open(index.path, verify=True)) == 3002


def test_everything_can_be_deleted_and_added_again(base, rng):
    index, _ = base
    index.delete(index.ids)
    assert (len(index), index.ids.tolist(), index.vectors.shape) == (0, [], (0, 8))
    index.compact()
    index.add(whole(rng, 5), ids=list("abcde"))  # other ids than before: none are left
    assert Index.open(index.path, verify=True).ids.tolist() == list("abcde")


# --- generations ---------------------------------------------------------------------------------


def test_a_reader_keeps_its_generation_until_it_refreshes(base, rng):
    index, vectors = base
    reader = Index.open(index.path)
    before = answers(reader, vectors[:5], 10)
    index.delete(range(1500))
    index.add(whole(rng, 200))
    index.compact()
    assert answers(reader, vectors[:5], 10) == before
    assert (reader.generation, index.generation) == (1, 4)
    assert reader.refresh()
    assert not reader.refresh()
    assert answers(reader, vectors[:5], 10) == answers(index, vectors[:5], 10)


def test_a_reader_reads_documents_of_its_generation_or_hears_that_they_are_gone(base, rng):
    index, _ = base
    reader = Index.open(index.path)
    index.update(whole(rng, 1), ids=[5], texts=["new"])
    assert reader.snapshot.documents([5])[0].text == "text 5"
    index.compact()
    assert reader.snapshot.documents([6])[0].text == "text 6"
    with pytest.raises(StorageError, match=r"row 5.*refresh\(\)"):
        reader.snapshot.documents([5])


def test_a_reader_of_a_replaced_index_never_reads_the_texts_of_the_other(base, rng):
    index, vectors = base
    reader = Index.open(index.path)
    before = answers(reader, vectors[:5], 10)
    Index.build(whole(rng, 3000), index.path, texts=["other"] * 3000, overwrite=True)
    assert answers(reader, vectors[:5], 10) == before
    with pytest.raises(StorageError, match="replaced by another index"):
        reader.snapshot.documents([5])
    assert reader.refresh()
    assert reader.snapshot.documents([5])[0].text == "other"


def test_writing_from_an_old_generation_starts_from_the_newest(base, rng):
    index, _ = base
    other = Index.open(index.path)
    index.add(whole(rng, 10))
    other.add(whole(rng, 10))
    assert len(other) == 3020
    with pytest.raises(IdsError, match="not in the index"):
        index.delete([4000])
    index.delete([3015])
    assert len(index) == 3019


def test_nothing_to_do_commits_nothing(base):
    index, _ = base
    index.compact()
    index.add(np.empty((0, 8), np.float32))
    index.delete([])
    index.update(ids=[])
    assert index.generation == 1


# --- one writer ----------------------------------------------------------------------------------


def test_a_second_writer_hears_who_is_writing(base, rng):
    index, vectors = base
    with (
        writer_lock(index.path, "a long task"),
        pytest.raises(LockedError, match=r"being written to by process \d+ on .*\(a long task\)"),
    ):
        index.add(whole(rng, 1))
    with writer_lock(index.path, "x"), pytest.raises(LockedError):
        Index.build(vectors, index.path, overwrite=True)
    with writer_lock(index.path, "x"):
        assert len(Index.open(index.path).search(vectors[:1], 1)) == 1  # readers do not care
    index.add(whole(rng, 1))


def test_threads_that_write_at_once_are_told_so_or_succeed(base, rng):
    index, _ = base
    done, refused = [], []

    def add(number):
        try:
            index.add(np.ones((1, 8), np.float32), ids=[10_000 + number])
            done.append(10_000 + number)
        except LockedError:
            refused.append(number)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) + len(refused) == 8
    assert done
    assert sorted(index.ids.tolist()[3000:]) == sorted(done)
