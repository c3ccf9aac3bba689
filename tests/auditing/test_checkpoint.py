"""An audit that was stopped continues from its checkpoint, and gives the same report."""

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
from nestvec.auditing import checkpoint, runner
from nestvec.auditing.audit_inputs import AuditedVariant, AuditInputs, StressInputs
from nestvec.auditing.checkpoint import FILE
from nestvec.auditing.types import EmbeddingPair, RelevanceJudgments, Triplets, Variant
from nestvec.auditing.verdict import Thresholds

VARIANTS = [{"dims": 64}, {"dims": 16, "bits": 8}, {"dims": 64, "bits": 1}, {"dims": 4, "bits": 4}]


def audit(corpus, folder, **options):
    return nv.audit(
        corpus.documents,
        corpus.queries,
        corpus.qrels,
        variants=VARIANTS,
        checkpoint=folder,
        **options,
    )


@pytest.fixture
def stopped(corpus, tmp_path, stopping_after):
    """The folder of an audit that was stopped while its last variant was ranked."""
    with pytest.raises(KeyboardInterrupt):
        audit(corpus, tmp_path, progress=stopping_after(4 * len(corpus.queries)))
    return tmp_path


@pytest.fixture
def evaluated(monkeypatch):
    """Names of the variants that are evaluated during the test."""
    names = []

    def evaluate_variant(checks, variant, confidence):
        names.append(variant.variant.name)
        return original(checks, variant, confidence)

    original = runner.evaluate_variant
    monkeypatch.setattr(runner, "evaluate_variant", evaluate_variant)
    return names


@pytest.fixture(scope="module")
def expected(corpus):
    return nv.audit(corpus.documents, corpus.queries, corpus.qrels, variants=VARIANTS).to_json()


def test_finished_variants_are_not_evaluated_again_and_the_report_is_the_same(
    corpus, stopped, evaluated, expected
):
    assert audit(corpus, stopped).to_json() == expected
    assert len(evaluated) == 1


def test_a_complete_audit_leaves_no_file(corpus, stopped, tmp_path):
    audit(corpus, stopped)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_another_audit_starts_anew(corpus, stopped, evaluated, seed):
    changes = {} if seed else {"thresholds": {"retention": 0.5}}
    resumed = audit(corpus, stopped, seed=seed, **changes).to_json()
    uninterrupted = nv.audit(
        corpus.documents, corpus.queries, corpus.qrels, variants=VARIANTS, seed=seed, **changes
    )
    assert resumed == uninterrupted.to_json()
    assert len(evaluated) == 2 * len(VARIANTS)


@pytest.mark.parametrize("line", [0, 1, 2])
def test_variants_behind_a_damaged_line_are_evaluated_again(
    corpus, stopped, evaluated, expected, line
):
    lines = (stopped / FILE).read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b"0", b"1")
    (stopped / FILE).write_bytes(b"".join(lines))
    assert audit(corpus, stopped).to_json() == expected
    assert len(evaluated) == len(VARIANTS) - max(line - 1, 0)


def test_an_incomplete_line_is_ignored(corpus, stopped, evaluated, expected):
    text = (stopped / FILE).read_bytes()
    (stopped / FILE).write_bytes(text[:-100])
    assert audit(corpus, stopped).to_json() == expected
    assert len(evaluated) == 2


def test_a_file_of_something_else_is_no_checkpoint(corpus, tmp_path, expected):
    (tmp_path / FILE).write_bytes(b"\xff\x00 not a checkpoint\n")
    assert audit(corpus, tmp_path).to_json() == expected


def test_the_fingerprint_covers_every_field_of_the_inputs(corpus):
    inputs = AuditInputs(
        full=corpus.full, ids=range(400), query_ids=range(200), self_match=np.full(200, -1),
        judgments=None, triplets=None, groups=None, variants=(AuditedVariant(Variant(dims=4)),),
        thresholds=Thresholds(), seed=0,
    )  # fmt: skip
    row = np.array([1])
    nearly = np.nextafter(corpus.queries, np.float32(1))
    values = {
        "full": EmbeddingPair(nearly, corpus.documents), "ids": range(1, 401),
        "query_ids": [*map(str, range(200))], "self_match": np.arange(200),
        "judgments": RelevanceJudgments(row, row, np.ones(1)),
        "triplets": Triplets(row, row, row, ("near",)),
        "groups": np.arange(200), "variants": (AuditedVariant(Variant(dims=4), corpus.full),),
        "thresholds": Thresholds(retention=0.5), "seed": 1, "hard_negative_source": "user",
        "stress": StressInputs(slices={"short": np.arange(200) < 30}),
    }  # fmt: skip
    changed = [dataclasses.replace(inputs, **{name: value}) for name, value in values.items()]
    fingerprints = {checkpoint.fingerprint(value) for value in (inputs, *changed)}
    assert set(values) == {field.name for field in dataclasses.fields(AuditInputs)}
    assert len(fingerprints) == 1 + len(values)
    assert checkpoint.fingerprint(dataclasses.replace(inputs)) == checkpoint.fingerprint(inputs)


KILLED = """
import sys
import numpy as np
import nestvec as nv
if __name__ == "__main__":
    documents, queries = np.load(sys.argv[1]), np.load(sys.argv[2])
    variants = [{"dims": dims, "bits": bits} for dims in range(64, 0, -4) for bits in (32, 8)]
    report = nv.audit(documents, queries, variants=variants, checkpoint=sys.argv[3])
    report.save_json(sys.argv[4])
"""


def test_a_killed_process_continues(corpus, tmp_path):
    np.save(tmp_path / "documents.npy", corpus.documents)
    np.save(tmp_path / "queries.npy", corpus.queries)
    sides = [str(tmp_path / f"{side}.npy") for side in ("documents", "queries")]

    def command(folder, report):
        return [sys.executable, "-c", KILLED, *sides, str(tmp_path / folder), str(report)]

    process = subprocess.Popen(command("resumed", tmp_path / "killed.json"))
    file = tmp_path / "resumed" / FILE
    until = time.monotonic() + 120
    while time.monotonic() < until and not (file.exists() and file.read_bytes().count(b"\n") > 3):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert file.read_bytes().count(b"\n") > 3
    assert not (tmp_path / "killed.json").exists()
    reports = []
    for folder in ("resumed", "fresh"):
        report = tmp_path / f"{folder}.json"
        subprocess.run(command(folder, report), check=True)
        reports.append(json.loads(report.read_text()))
    assert reports[0] == reports[1]
