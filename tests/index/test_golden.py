"""Indexes of every format that was ever written are opened, changed and brought up to date."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nestvec import Index
from nestvec.index.snapshot import CODED
from nestvec.index.storage.manifest import FORMAT, WITH_ADAPTER

GOLDEN = Path(__file__).parents[1] / "golden"
FORMATS = [f"format_{number}" for number in range(1, WITH_ADAPTER + 1)]


@pytest.fixture(params=FORMATS)
def golden(request, tmp_path):
    """A copy of a golden index, and what it must answer."""
    expected = json.loads((GOLDEN / "expected.json").read_text())[request.param]
    return shutil.copytree(GOLDEN / f"{request.param}.nv", tmp_path / "i.nv"), expected


def answers(index):
    """To a question by the first five rows, which no change of these tests deletes."""
    rows = np.stack([index.vectors[index.ids == f"é{row}"][0] for row in range(5)])
    adapted_by = index.transform and index.transform.fingerprint
    hits = index.search(rows, 10, plan="probe=all; full", transformed_by=adapted_by)
    for line in hits.rows:
        for document in index.snapshot.documents(line):
            number = int(document.id[1:])
            assert (document.text, document.metadata) == (f"text {number}", {"row": number})
    return {"ids": hits.ids.tolist(), "scores": hits.scores.tolist()}


@pytest.mark.parametrize("verify", [False, True])
def test_a_golden_index_answers_what_it_always_did(golden, verify):
    folder, expected = golden
    index = Index.open(folder, verify=verify)
    assert answers(index) == expected
    assert index.meta["model"] == {"name": "golden", "revision": None, "dim": 24}


def test_a_golden_index_of_a_folder_that_may_not_be_written_is_left_alone(golden):
    folder, expected = golden
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert answers(Index.open(folder)) == expected
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_golden_index_can_be_changed_and_compacted(golden):
    folder, expected = golden
    index = Index.open(folder)
    before = index.meta["format"]
    reader = Index.open(folder)
    index.add(np.zeros((1, 24), np.float32), ids=["new"], texts=["text"])
    index.delete(["new"])
    assert answers(Index.open(folder, verify=True)) == expected
    assert index.meta["format"] == max(FORMAT, before)
    index.compact()
    assert [part.entry.layout for part in index.snapshot.parts] == [CODED]
    assert answers(Index.open(folder, verify=True)) == answers(reader) == expected
