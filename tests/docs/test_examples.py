"""The examples are reports as they are documented, and say what their table says."""

from pathlib import Path

import pytest

from nestvec.auditing.reporting.report import AuditReport

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "reference" / "examples"


def test_the_table_is_that_of_the_reports(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import examples

    assert (EXAMPLES / "README.md").read_text() == examples.readme()


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.json")))
def test_every_metric_has_its_interval_and_its_number(name):
    for variant in AuditReport.load(EXAMPLES / f"{name}.json").to_json()["variants"]:
        assert variant.keys() >= {"dims", "bits", "verdict", "metrics"}
        for metric in variant["metrics"].values():
            assert metric.keys() == {"value", "low", "high", "n"}


def test_vectors_made_to_break_few_dimensions_fail_there():
    verdicts = AuditReport.load(EXAMPLES / "limit-small.json").verdicts
    assert {verdicts[f"{dims} dims, 32 bits"] for dims in (64, 48, 32, 24)} == {"FAIL"}
