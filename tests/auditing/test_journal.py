"""An audit that was stopped goes on where it was, and says what it would have said."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import nestvec as nv
from nestvec.auditing import checkpoint
from nestvec.auditing import runner as running
from nestvec.auditing.checkpoint import FILE
from nestvec.auditing.task import Candidate, Extras, Task
from nestvec.auditing.types import Encoded, Judged, Triplets, Variant
from nestvec.auditing.verdict import Thresholds

SOME = [{"dims": 64}, {"dims": 16, "bits": 8}, {"dims": 64, "bits": 1}, {"dims": 4, "bits": 4}]


def audit(corpus, folder, **options):
    return nv.audit(
        corpus.documents, corpus.queries, corpus.qrels, variants=SOME, resume=folder, **options
    )


@pytest.fixture
def stopped(corpus, tmp_path, stopping_after):
    """The folder of an audit that was stopped while its last variant was ranked."""
    with pytest.raises(KeyboardInterrupt):
        audit(corpus, tmp_path, progress=stopping_after(4 * len(corpus.queries)))
    return tmp_path


@pytest.fixture
def measured(monkeypatch):
    """The names of the variants that are measured from here on."""
    names = []

    def measure(families, made, confidence):
        names.append(made.variant.name)
        return original(families, made, confidence)

    original = running.measure
    monkeypatch.setattr(running, "measure", measure)
    return names


@pytest.fixture(scope="module")
def whole(corpus):
    return nv.audit(corpus.documents, corpus.queries, corpus.qrels, variants=SOME).to_json()


def test_what_was_done_is_not_done_again_and_the_report_is_the_same(
    corpus, stopped, measured, whole
):
    assert audit(corpus, stopped).to_json() == whole
    assert len(measured) == 1


def test_a_complete_report_leaves_nothing_behind(corpus, stopped, tmp_path):
    audit(corpus, stopped)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_another_audit_starts_anew(corpus, stopped, measured, seed):
    others = {} if seed else {"thresholds": {"retention": 0.5}}
    found = audit(corpus, stopped, seed=seed, **others).to_json()
    alone = nv.audit(
        corpus.documents, corpus.queries, corpus.qrels, variants=SOME, seed=seed, **others
    )
    assert found == alone.to_json()
    assert len(measured) == 2 * len(SOME)


@pytest.mark.parametrize("line", [0, 1, 2])
def test_what_follows_a_damaged_line_is_measured_again(corpus, stopped, measured, whole, line):
    lines = (stopped / FILE).read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b"0", b"1")
    (stopped / FILE).write_bytes(b"".join(lines))
    assert audit(corpus, stopped).to_json() == whole
    assert len(measured) == len(SOME) - max(line - 1, 0)


def test_half_a_line_counts_for_nothing(corpus, stopped, measured, whole):
    text = (stopped / FILE).read_bytes()
    (stopped / FILE).write_bytes(text[:-100])
    assert audit(corpus, stopped).to_json() == whole
    assert len(measured) == 2


def test_a_file_of_something_else_is_no_journal(corpus, tmp_path, whole):
    (tmp_path / FILE).write_bytes(b"\xff\x00 not a journal\n")
    assert audit(corpus, tmp_path).to_json() == whole


def test_every_part_of_the_task_counts(corpus):
    task = Task(
        full=corpus.full, ids=range(400), query_ids=range(200), own=np.full(200, -1),
        judged=None, triplets=None, groups=None, candidates=(Candidate(Variant(dims=4)),),
        thresholds=Thresholds(), seed=0,
    )  # fmt: skip
    one = np.array([1])
    nearly = np.nextafter(corpus.queries, np.float32(1))
    others = {
        "full": Encoded(nearly, corpus.documents), "ids": range(1, 401),
        "query_ids": [*map(str, range(200))], "own": np.arange(200),
        "judged": Judged(one, one, np.ones(1)), "triplets": Triplets(one, one, one, ("near",)),
        "groups": np.arange(200), "candidates": (Candidate(Variant(dims=4), corpus.full),),
        "thresholds": Thresholds(retention=0.5), "seed": 1, "negatives": "given",
        "extras": Extras(slices={"short": np.arange(200) < 30}),
    }  # fmt: skip
    changed = [dataclasses.replace(task, **{name: other}) for name, other in others.items()]
    marks = {checkpoint.fingerprint(one) for one in (task, *changed)}
    assert set(others) == {field.name for field in dataclasses.fields(Task)}
    assert len(marks) == 1 + len(others)
    assert checkpoint.fingerprint(dataclasses.replace(task)) == checkpoint.fingerprint(task)


KILLED = """
import sys
import numpy as np
import nestvec as nv
if __name__ == "__main__":
    documents, queries = np.load(sys.argv[1]), np.load(sys.argv[2])
    variants = [{"dims": dims, "bits": bits} for dims in range(64, 0, -4) for bits in (32, 8)]
    report = nv.audit(documents, queries, variants=variants, resume=sys.argv[3])
    report.save_json(sys.argv[4])
"""


def test_a_killed_process_goes_on(corpus, tmp_path):
    np.save(tmp_path / "documents.npy", corpus.documents)
    np.save(tmp_path / "queries.npy", corpus.queries)
    sides = [str(tmp_path / f"{side}.npy") for side in ("documents", "queries")]

    def command(folder, report):
        return [sys.executable, "-c", KILLED, *sides, str(tmp_path / folder), str(report)]

    process = subprocess.Popen(command("kept", tmp_path / "killed.json"))
    file = tmp_path / "kept" / FILE
    until = time.monotonic() + 120
    while time.monotonic() < until and not (file.exists() and file.read_bytes().count(b"\n") > 3):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert file.read_bytes().count(b"\n") > 3
    assert not (tmp_path / "killed.json").exists()
    reports = []
    for folder in ("kept", "fresh"):
        report = tmp_path / f"{folder}.json"
        subprocess.run(command(folder, report), check=True)
        reports.append(json.loads(report.read_text()))
    assert reports[0] == reports[1]
