"""Whatever happens to its files, an index answers rightly or says what is wrong."""

import json
import shutil
import sqlite3
import zlib
from contextlib import closing

import numpy as np
import pytest

from nestvec import Index, NestvecError, Plan
from nestvec.errors import DamagedIndexError, NewerFormatError, StorageError
from nestvec.index.snapshot import LiveSegment, Snapshot
from nestvec.index.storage.catalog import NAME
from nestvec.index.storage.coded_segment import BULK, Segment, codes_name
from nestvec.index.storage.manifest import Manifest
from nestvec.index.storage.segment_rows import SegmentRows, vectors_name
from nestvec.index.storage.tensor_file import CHUNK_BYTES, map_tensors
from nestvec.kernels.layout import CELL, ROW

CODES, VECTORS = codes_name(1), vectors_name(1)
FILES = (CODES, VECTORS, NAME)
PLANS = ("probe=5; 64x1:100 > 100x8:30 > full", "probe=all; 100x2:50", "probe=all; full")


def anywhere(path, rng, count):
    """Random places in a file, half of them at its front, where its structure is."""
    size = path.stat().st_size
    return [*rng.integers(0, min(size, 4096), count // 2), *rng.integers(0, size, count // 2)]


def flipped(path, rng, places):
    """At each place: flip a random bit, yield the place, flip it back."""
    for place in map(int, places):
        mask = 1 << int(rng.integers(8))
        for turn in range(2):
            with path.open("r+b") as file:
                file.seek(place)
                byte = file.read(1)[0]
                file.seek(place)
                file.write(bytes([byte ^ mask]))
            if turn == 0:
                yield place


def change(folder, statement, *values):
    with closing(sqlite3.connect(folder / NAME)) as db, db:
        db.execute(statement, values)


def test_an_unharmed_copy_is_found_whole(copy, corpus, index):
    hits = Index.open(copy, verify=True).search(corpus[1], 10)
    assert (hits.rows == index.search(corpus[1], 10).rows).all()


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_reported_by_name(copy, name, verify):
    (copy / name).unlink()
    with pytest.raises(StorageError, match=name):
        Index.open(copy, verify=verify)


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_reported_by_name(copy, name):
    data = (copy / name).read_bytes()
    lengths = {0, 1, 7, 8, 9, 99, 100, 101, 511, 512, 4095, 4096, len(data) // 2, len(data) - 1}
    for length in sorted(length for length in lengths if length < len(data)):
        (copy / name).write_bytes(data[:length])
        with pytest.raises(DamagedIndexError, match=name):
            Index.open(copy)


@pytest.mark.parametrize("name", [CODES, VECTORS])
def test_a_longer_file_is_reported_by_name(copy, name):
    with (copy / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DamagedIndexError, match=name):
        Index.open(copy)


@pytest.mark.parametrize("name", [CODES, VECTORS])
def test_verifying_finds_every_flipped_bit_and_says_in_which_megabyte(copy, name, rng):
    for place in flipped(copy / name, rng, anywhere(copy / name, rng, 100)):
        with pytest.raises(DamagedIndexError, match=f"{name}.* MiB {place // CHUNK_BYTES + 1} of"):
            Index.open(copy, verify=True)
    Index.open(copy, verify=True)


@pytest.mark.parametrize("name", [CODES, VECTORS])
def test_a_flipped_bit_that_nobody_looked_for_harms_no_search(copy, name, corpus, rng):
    # It may change a score; it may not crash, name a row that is none, or lose one.
    for _ in flipped(copy / name, rng, anywhere(copy / name, rng, 100)):
        try:
            index = Index.open(copy)
            for plan in PLANS:
                hits = index.search(corpus[1][:3], 10, plan=plan)
                assert all(len(set(rows)) == 10 for rows in hits.rows.tolist())
                assert hits.rows.min() >= 0
        except DamagedIndexError:
            pass


def test_structure_is_checked_at_every_open(copy):
    # Everything that is found through something else: no flip in it goes unnoticed.
    data = (copy / CODES).read_bytes()
    for name, array in map_tensors(copy / CODES).items():
        if name in BULK:
            continue
        place = data.index(array.tobytes()) + array.nbytes // 2
        with (copy / CODES).open("r+b") as file:
            file.seek(place)
            file.write(bytes([data[place] ^ 64]))
        with pytest.raises(DamagedIndexError, match=CODES):
            Index.open(copy)
        (copy / CODES).write_bytes(data)


def start_of(path, array):
    return path.read_bytes().index(array.tobytes())


# A small file is one MiB, which every open checks. In a large one bulk is not checked unless asked
# for: these tests open the segment, which is what comes after the checksums.


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", [name for name in BULK if name != "bias"])
def test_flipped_bits_in_unchecked_bulk_harm_no_search(copy, name, masked, index, corpus, rng):
    path = copy / (VECTORS if name == "vectors" else CODES)
    array = map_tensors(path)[name]
    places = start_of(path, array) + rng.integers(0, array.nbytes, 100)
    for _ in flipped(path, rng, places):
        try:
            rows = SegmentRows.open(copy / VECTORS)
            segment = Segment.open(copy / CODES, rows.vectors)
            live = (np.arange(len(rows)) != 7).astype(np.uint8) if masked else None
            part = LiveSegment.from_mask(index.snapshot.parts[0].entry, rows, segment, live)
            opened = Index(Snapshot(copy, index.snapshot.manifest, (part,), None))
        except DamagedIndexError:
            assert name == "scale"
            continue
        for plan in PLANS:
            try:
                hits = opened.search(corpus[1][:3], 10, plan=plan)
            except DamagedIndexError:
                assert name == "records"
                continue
            # A damaged record may name the row of another.
            assert name == "records" or all(len(set(rows)) == 10 for rows in hits.rows.tolist())
            assert hits.rows.min() >= 0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1.0])
def test_a_scale_that_would_lose_or_invent_a_row_is_found_without_checksums(copy, wrong):
    scale = map_tensors(copy / CODES)["scale"]
    at = int(np.flatnonzero(np.isnan(scale) == (wrong == 1.0))[0])
    with (copy / CODES).open("r+b") as file:
        file.seek(start_of(copy / CODES, scale) + 4 * at)
        file.write(np.float32(wrong).tobytes())
    with pytest.raises(DamagedIndexError, match="a scale is damaged"):
        Segment.open(copy / CODES, map_tensors(copy / VECTORS)["vectors"])


def test_a_catalog_with_flipped_bits_is_reported_or_does_no_harm(copy, corpus, index, rng):
    queries = corpus[1][:3]
    expected = index.search(queries, 5)
    for _ in flipped(copy / NAME, rng, anywhere(copy / NAME, rng, 300)):
        try:
            opened = Index.open(copy)
            hits = opened.search(queries, 5)
            assert (hits.ids == expected.ids).all()
            assert (hits.scores == expected.scores).all()
            opened.snapshot.documents(range(20))
        except NestvecError:
            pass


def test_files_of_two_indexes_do_not_mix(copy, corpus, tmp_path):
    other = Index.build(corpus[0][::-1], tmp_path / "other.nv")
    (copy / VECTORS).write_bytes((other.path / VECTORS).read_bytes())
    with pytest.raises(DamagedIndexError, match=VECTORS):
        Index.open(copy, verify=True)


def test_a_newer_format_is_refused_with_the_way_out(copy):
    change(copy, "UPDATE meta SET value = '4' WHERE key = 'format'")
    with pytest.raises(NewerFormatError, match=r"format 4.*up to 3.*upgrade"):
        Index.open(copy)


DAMAGED_CATALOGS = {
    "no format": ("DELETE FROM meta WHERE key = 'format'",),
    "format no number": ("UPDATE meta SET value = '\"one\"' WHERE key = 'format'",),
    "meta no JSON": ("UPDATE meta SET value = '{' WHERE key = 'model'",),
    "other rows": ("UPDATE segments SET rows = 2999",),
    "other width": ("UPDATE meta SET value = '99' WHERE key = 'dim'",),
    "other seed": ("UPDATE meta SET value = '1' WHERE key = 'seed'",),
    "other next row": ("UPDATE meta SET value = '4000' WHERE key = 'next_row'",),
    "other generation": ("UPDATE meta SET value = '3' WHERE key = 'generation'",),
    "other lineage": ("UPDATE meta SET value = '\"00000000\"' WHERE key = 'lineage'",),
    "deleted rows": ("UPDATE segments SET deleted = ?", zlib.compress(bytes([128] * 375))),
    "other checksums": ("UPDATE files SET checksums = substr(checksums, 1, 3) || x'00'",),
    "no files": ("DELETE FROM files",),
    "one file": ("DELETE FROM files WHERE name = ?", VECTORS),
    "no table": ("DROP TABLE files",),
    "size no number": ("UPDATE files SET size_bytes = 'many'",),
    "no checksums": ("UPDATE files SET checksums = x''",),
    "checksums no bytes": ("UPDATE files SET checksums = 7",),
    "name no text": ("UPDATE files SET name = x'00' WHERE name = ?", CODES),
    "name outside": ("UPDATE files SET name = '../' || name",),
    "name with NUL": ("UPDATE files SET name = 'a' || char(0) WHERE name = ?", CODES),
}


@pytest.mark.parametrize("kind", DAMAGED_CATALOGS)
def test_a_catalog_that_makes_no_sense_is_damaged(copy, kind):
    change(copy, *DAMAGED_CATALOGS[kind])
    with pytest.raises(DamagedIndexError):
        Index.open(copy)


def test_metadata_that_makes_no_sense_is_damaged(copy):
    change(copy, "UPDATE rows SET metadata = '{' WHERE row = 3")
    index = Index.open(copy)
    assert index.snapshot.documents([2])[0].metadata == {"row": 2}
    with pytest.raises(DamagedIndexError, match=NAME):
        index.snapshot.documents([3])


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_folder_that_is_no_index_is_refused_with_the_way_out(tmp_path, make):
    make(tmp_path / "i.nv")
    with pytest.raises(StorageError, match=r"is not a nestvec index.*Index\.build"):
        Index.open(tmp_path / "i.nv")


def test_a_file_in_place_of_the_folder_is_no_index(tmp_path):
    (tmp_path / "i.nv").write_text("hello")
    with pytest.raises(StorageError, match="is not a nestvec index"):
        Index.open(tmp_path / "i.nv")


def test_files_that_the_catalog_does_not_list_are_ignored(copy, corpus):
    (copy / "000002.codes.safetensors").write_bytes(b"later")
    Index.open(copy, verify=True).search(corpus[1], 1)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("where", [CELL, ROW])
@pytest.mark.parametrize("wrong", [-1, 2**31 - 1])
def test_a_record_that_leads_nowhere_is_named_by_the_search_that_meets_it(
    copy, where, wrong, masked, index, corpus
):
    mapped = map_tensors(copy / CODES)["records"]
    start, records = start_of(copy / CODES, mapped), mapped.copy()
    records.view(np.int32)[:, where] = wrong
    with (copy / CODES).open("r+b") as file:
        file.seek(start)
        file.write(records.tobytes())
    rows = SegmentRows.open(copy / VECTORS)
    segment = Segment.open(copy / CODES, rows.vectors)
    live = (np.arange(len(rows)) != 7).astype(np.uint8) if masked else None
    part = LiveSegment.from_mask(index.snapshot.parts[0].entry, rows, segment, live)
    opened = Index(Snapshot(copy, index.snapshot.manifest, (part,), None))
    for plan in (None, "probe=all; full", "probe=8; 100x8:30"):
        if where == CELL and plan is not None and "full" in plan:
            continue  # which cell a row is in, a scan of all vectors does not ask
        with pytest.raises(DamagedIndexError, match="a record names a"):
            opened.search(corpus[1][:3], 10, plan=plan)


NONSENSE = (None, True, -1, 2**70, "x", "", [], {}, [[]], {"a": 1}, 1e308)


def crafted(meta):
    """Entries of the catalog with one value, at any depth, missing or replaced."""
    for name, value in meta.items():
        yield {key: other for key, other in meta.items() if key != name}
        for nonsense in NONSENSE:
            yield {**meta, name: nonsense}
        if isinstance(value, dict):
            for inner in crafted(value):
                yield {**meta, name: inner}


@pytest.mark.door("a catalog whose entries make no sense, with a right checksum", "damage, named")
def test_crafted_entries_of_the_catalog_are_damage_or_do_no_harm(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((1000, 8)).astype(np.float32)
    index = Index.build(vectors, tmp_path / "i.nv")
    plan = Plan.parse("probe=all; full")
    index.save_plan(10, plan, {}, index.snapshot.manifest.rows_checksum())
    refused = []
    for meta in crafted(dict(index.meta)):
        copy = shutil.copytree(index.path, tmp_path / "crafted.nv")
        manifest = Manifest(meta, index.snapshot.manifest.entries)
        with closing(sqlite3.connect(copy / NAME)) as db, db:
            db.execute("DELETE FROM meta")
            entries = {**meta, "checksum": manifest.checksum()}
            rows = [(key, json.dumps(value)) for key, value in entries.items()]
            db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        refused.append(is_refused(copy))
        shutil.rmtree(copy)
    assert sum(refused) > 0.8 * len(refused) > 200


def is_refused(path):
    """Do with an index what people do, and tell whether it is called damaged."""
    try:
        index = Index.open(path)
        index.search(index.vectors[:2], 10)
        _ = repr(index), index._repr_html_(), index.default_plan(10), index.stored_plans
        assert index.default_recall is None or index.default_recall.n
        index.add(index.vectors[:3])
        index.delete([0])
    except (DamagedIndexError, NewerFormatError):
        return True
    return False
