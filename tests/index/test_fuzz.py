"""Bits flipped and files cut off anywhere: a named error or the right answers, never a crash.

Seen to fail by hand on broken builds: docs/explanation/decisions/0013.
"""

import shutil

import numpy as np
import pytest

from nestvec import Index, NestvecError
from nestvec.errors import DamagedIndexError, StorageError
from nestvec.index.storage.catalog import NAME

PLANS = ("probe=all; full", "probe=4; 64x1:60 > full", "probe=all; 100x2:50")


@pytest.fixture(scope="session")
def changed(corpus, tmp_path_factory):
    """A coded segment with deleted rows, and a flat one: every kind of file there is."""
    vectors, _ = corpus
    index = Index.build(
        vectors[:1000],
        tmp_path_factory.mktemp("changed") / "i.nv",
        ids=[f"id {row}" for row in range(1000)],
        texts=[f"text {row}" for row in range(1000)],
        metadata=[{"row": row} for row in range(1000)],
    )
    index.add(vectors[1000:1200], ids=[f"id {row}" for row in range(1000, 1200)])
    index.delete([f"id {row}" for row in range(0, 1200, 9)])
    return index


@pytest.fixture
def victim(changed, tmp_path):
    """A copy of `changed`, to damage."""
    return shutil.copytree(changed.path, tmp_path / "victim.nv")


def everything(index, queries):
    """All that an index says: answers by every kind of plan, and what is stored with each row."""
    hits = [index.search(queries, 10, plan=plan) for plan in PLANS]
    documents = index.snapshot.documents(index.snapshot.numbers())
    return [(h.ids.tolist(), h.scores.tolist(), h.rows.tolist()) for h in hits], documents


def damages(data, rng, count):
    """Copies of a file, each damaged in one way, more of them near the front."""
    for _ in range(count):
        place = int(rng.integers(0, min(len(data), 4096) if rng.random() < 0.5 else len(data)))
        kind = rng.integers(4)
        if kind == 0:
            yield data[:place]
            continue
        harmed = bytearray(data)
        if kind == 1:
            harmed[place] ^= 1 << int(rng.integers(8))
        else:
            length = int(rng.integers(1, 600))
            part = np.frombuffer(rng.bytes(length), np.uint8) if kind == 2 else np.zeros(length)
            part = part.astype(np.uint8)[: len(data) - place]
            harmed[place : place + len(part)] = part.tobytes()
        if bytes(harmed) != data:
            yield bytes(harmed)


FILES = ("000001.codes.safetensors", "000001.vectors.safetensors", "000002.vectors.safetensors")


@pytest.mark.parametrize("name", [*FILES, NAME])
def test_damage_is_found_or_does_no_harm(victim, changed, corpus, name, rng, soak):
    queries = corpus[1][:3]
    expected = everything(changed, queries)
    data = (victim / name).read_bytes()
    found = 0
    for harmed in damages(data, rng, 5000 if soak else 120):
        (victim / name).write_bytes(harmed)
        try:
            contents = everything(Index.open(victim, verify=True), queries)
        except StorageError:  # of which DamagedIndexError is one
            found += 1
            continue
        assert name == NAME, "a damaged segment file was opened"
        assert contents == expected
    assert found > (0 if name == NAME else 100)
    (victim / name).write_bytes(data)
    assert everything(Index.open(victim, verify=True), queries) == expected


@pytest.mark.parametrize("name", [*FILES, NAME])
def test_damage_that_nobody_looked_for_harms_no_search(victim, changed, corpus, name, rng, soak):
    # Without `verify`: what bulk says may be wrong; ids, texts and which rows there are may not.
    queries = corpus[1][:3]
    expected = everything(changed, queries)
    live = set(changed.snapshot.numbers().tolist())
    data = (victim / name).read_bytes()
    for harmed in damages(data, rng, 5000 if soak else 120):
        (victim / name).write_bytes(harmed)
        try:
            contents = everything(Index.open(victim), queries)
        except NestvecError:
            continue
        assert contents[1] == expected[1]
        for ids, _, rows in contents[0]:
            assert {row for line in rows for row in line} <= live
            assert all(len(set(line)) == 10 for line in ids)
        if name == NAME:
            assert contents == expected


@pytest.mark.parametrize("name", [*FILES, NAME])
def test_a_writer_finds_damage_or_does_no_harm(victim, changed, corpus, name, rng, soak):
    original = {file.name: file.read_bytes() for file in victim.iterdir()}
    expected = changed.ids.tolist()
    for harmed in damages(original[name], rng, 500 if soak else 25):
        (victim / name).write_bytes(harmed)
        try:
            index = Index.open(victim, verify=True)
            index.add(corpus[0][2000:2010], ids=[f"new {i}" for i in range(10)])
            index.delete(["new 3"])
            contents = Index.open(victim, verify=True).ids.tolist()
            assert contents == [*expected, *(f"new {i}" for i in range(10) if i != 3)]
        except StorageError:
            pass
        for file in victim.iterdir():
            file.unlink()
        for file, content in original.items():
            (victim / file).write_bytes(content)


def test_what_verify_finds_in_bulk_is_named(victim):
    path = victim / FILES[1]
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedIndexError, match=r"000001\.vectors.*MiB 1 of 1"):
        Index.open(victim, verify=True)
