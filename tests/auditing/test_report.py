"""Audit reports: files, tables, comparisons, and reports of the schema before."""

import importlib.util
import json
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import nestvec as nv
from nestvec.auditing import AuditTexts, StressOptions
from nestvec.auditing.reporting import report as report_module
from nestvec.auditing.reporting.report import AuditReport
from nestvec.auditing.reporting.schema import SCHEMA, upgrade
from nestvec.errors import DataError

GOLDEN = Path(__file__).parents[1] / "golden" / "report_1.json"
VARIANTS = [{"dims": 64}, {"dims": 32}, {"dims": 4}, {"dims": 64, "bits": 1}]


@pytest.fixture(scope="module")
def report(corpus):
    return nv.audit(corpus.documents, corpus.queries, corpus.qrels, variants=VARIANTS)


# --- files ---------------------------------------------------------------------------------------


def test_a_saved_report_is_loaded_as_it_was(report, tmp_path):
    report.save_json(tmp_path / "report.json")
    assert AuditReport.load(tmp_path / "report.json").to_json() == report.to_json()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"schema": "other"}',
        '{"schema": "nestvec.audit/1"}',
        '{"schema": "nestvec.audit/2"}',
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match="report"):
        AuditReport.load(tmp_path / "x.json")


@pytest.mark.filterwarnings("ignore:.*schema:DeprecationWarning")
def test_an_incomplete_report_of_schema_1_is_refused(tmp_path):
    content = json.loads(GOLDEN.read_text())
    del content["variants"][0]["rotation"]
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="not complete"):
        AuditReport.load(tmp_path / "x.json")


def test_a_report_is_saved_as_a_page(report, tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("vl_convert")
    report.save_html(tmp_path / "report.html")
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_junit_has_a_case_per_variant(report, tmp_path):
    report.save_junit(tmp_path / "audit.xml")
    suite = ElementTree.parse(tmp_path / "audit.xml").getroot()
    assert suite.attrib["tests"] == "4"
    assert int(suite.attrib["failures"]) == len(report.failed_variants) >= 1
    cases = {case.attrib["name"]: case for case in suite}
    assert cases["4 dims, 32 bits"][0].tag == "failure"
    (output,) = cases["64 dims, 32 bits"]
    assert output.tag == "system-out"
    lines = output.text.splitlines()
    assert any(line.startswith("ndcg@10_retention 1 (1 to 1, n=") for line in lines)
    (variant,) = (v for v in report.content["variants"] if v["name"] == "64 dims, 32 bits")
    assert [line.split()[0] for line in lines] == list(variant["metrics"])


def test_provenance_changes_nothing_else(report):
    created_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    content = report.with_provenance("nestvec audit", created_at).to_json()
    assert content["command"] == "nestvec audit"
    assert content["created_at"] == "2026-01-02T03:04:05+00:00"
    unchanged = report.to_json().keys() - {"command", "created_at"}
    assert all(content[key] == report.to_json()[key] for key in unchanged)


# --- comparisons ---------------------------------------------------------------------------------


def test_a_report_has_no_changes_from_itself(report):
    changes = report.compare(report)
    assert [change["changed_metrics"] for change in changes] == [{}] * 4
    assert all(change["old"] == change["new"] for change in changes)


def test_a_comparison_lists_changed_metrics(corpus, report):
    shifted = nv.audit(
        corpus.documents, np.roll(corpus.queries, 1, axis=1), corpus.qrels, variants=VARIANTS[:1]
    )
    (change,) = shifted.compare(report)
    assert change["name"] == "64 dims, 32 bits"
    values = change["changed_metrics"]["ndcg@10"]
    assert values["new"] == shifted.content["variants"][0]["metrics"]["ndcg@10"].value
    assert values["old"] > values["new"]


# --- text and notebooks --------------------------------------------------------------------------


def test_a_printed_report_is_a_table_of_verdicts_with_conclusions(report):
    lines = str(report).splitlines()
    assert lines[0] == "nestvec audit of 400 documents and 200 queries, 64 dims"
    row = next(line for line in lines if line.startswith("4 dims, 32 bits"))
    assert row.split() == [
        "4",
        "dims,",
        "32",
        "bits",
        "16",
        "FAIL",
        "ndcg@10_retention",
        *row.split()[7:],
    ]
    assert any(line.startswith("safe at full precision: ") for line in lines)
    assert not any(line.endswith(" ") for line in lines)


def test_columns_of_a_printed_report_are_aligned(report):
    lines = str(report).splitlines()
    head = next(line for line in lines if line.startswith("variant"))
    place = head.index("verdict")
    rows = [line for line in lines if "ndcg@10_retention" in line]
    assert len(rows) == 4
    assert all(row[place:].startswith(("PASS", "FAIL", "INSUFFICIENT")) for row in rows)


def test_the_repr_counts_variants_by_verdict(report):
    assert repr(report).startswith("<AuditReport of 4 variants: ")
    assert f"{len(report.failed_variants)} FAIL" in repr(report)
    assert "\n" not in repr(report)


def test_the_table_of_a_notebook_escapes_texts(report):
    content = report.to_json()
    content["variants"][0]["name"] = "<img src=x>"
    html = AuditReport(content)._repr_html_()
    assert html.count("<tr>") == 5
    assert "&lt;img src=x&gt;" in html
    assert "<img" not in html


def test_a_report_without_relevance_judgments_is_printed_too(corpus):
    report = nv.audit(corpus.documents, corpus.queries, variants=VARIANTS[:1])
    assert "overlap_with_ties@10" in str(report)


# --- schema 1 ------------------------------------------------------------------------------------

FREE_TEXTS = ("message", "reasons", "control", "command", "nestvec")
"""Sentences, which may be phrased in other words."""


@pytest.fixture(scope="module")
def golden_data():
    """The module that made the golden report."""
    spec = importlib.util.spec_from_file_location("make_report", GOLDEN.with_name("make_report.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def audited_again(golden_data):
    """Today's audit of the data of the golden report."""
    encoder = golden_data.BagOfWords()
    queries = encoder.encode(golden_data.QUERIES)
    return nv.audit(
        encoder.encode(golden_data.TEXTS),
        queries,
        golden_data.QRELS,
        variants=[
            {"dims": 32},
            {"dims": 8, "random_dims": True, "control": "as many bytes as 8 dims"},
            {"dims": 8, "bits": 4, "rotation": "pca", "side": "documents"},
            {"dims": 4, "bits": 1, "rerank": 12},
        ],
        texts=AuditTexts(golden_data.TEXTS, golden_data.QUERIES, encoder),
        stress=StressOptions(
            slices={"late": golden_data.IS_LATE},
            perturbed={"noisy": queries[:, ::-1]},
            out_of_distribution={"strange": queries[:30, ::-1]},
            labels=golden_data.LABELS,
        ),
        seed=golden_data.SEED,
    )


def check_same(old, new, place):
    """Fail where two JSON values differ in more than rounding and the phrasing of sentences."""
    if isinstance(new, dict):
        assert list(old) == list(new), place
        for key in new:
            if key not in FREE_TEXTS:
                check_same(old[key], new[key], f"{place}.{key}")
    elif isinstance(new, list):
        assert len(old) == len(new), place
        for i, pair in enumerate(zip(old, new, strict=True)):
            check_same(*pair, f"{place}[{i}]")
    elif isinstance(new, float):
        assert old == pytest.approx(new, rel=1e-4, abs=1e-5), place
    else:
        assert old == new, place


def test_a_report_of_schema_1_is_upgraded_to_what_an_audit_finds_today(audited_again):
    with pytest.warns(DeprecationWarning, match=r"nestvec\.audit/1.*nestvec\.audit/2"):
        report = AuditReport.load(GOLDEN)
    assert report.content["schema"] == SCHEMA
    check_same(report.to_json(), audited_again.to_json(), "report")


def test_reasons_of_an_upgraded_report_name_metrics_and_variants_as_they_are_called_now():
    content = json.loads(GOLDEN.read_text())
    content["variants"][2]["reasons"] = [
        "8 dims, 32 bits, random does not pass, so what is smaller was not tested"
    ]
    reasons = [variant["reasons"] for variant in upgrade(content)["variants"]]
    assert any(reason.startswith("net_flips:counterfactual is ") for reason in reasons[1])
    assert not any("edited" in reason for reason in reasons[1])
    assert reasons[2][0].startswith("8 random dims, 32 bits does not pass")


def test_an_upgraded_report_names_vectors_and_hard_negatives_without_a_label_as_audits_do_now():
    content = json.loads(GOLDEN.read_text())
    variant = content["variants"][0]
    estimate = variant["metrics"].popitem()[1]
    variant |= {"label": "given", "metrics": {"net_flips:given": estimate}}
    kinds = {"kinds": {"given": {}, "number": {}}, "kinds_lost": ["given"]}
    variant["details"] = {"hard_negatives": kinds}
    upgraded = upgrade(content)["variants"][0]
    assert upgraded["label"] == "external"
    assert upgraded["name"].startswith("external, ")
    assert upgraded["metrics"] == {"net_flips:unlabelled": estimate}
    assert upgraded["details"]["hard_negatives"] == {
        "kinds": {"unlabelled": {}, "number": {}}, "kinds_lost": ["unlabelled"],
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*schema:DeprecationWarning")
def test_a_report_is_compared_with_one_of_schema_1(audited_again):
    changes = audited_again.compare(AuditReport.load(GOLDEN))
    assert [change["name"] for change in changes] == [
        "32 dims, 32 bits",
        "8 random dims, 32 bits",
        "8 dims, 4 bits, pca, documents only",
        "4 dims, 1 bit, reranked 12",
    ]
    # Metrics without an interval differ in the digits that the golden file has not.
    for values in (values for change in changes for values in change["changed_metrics"].values()):
        assert values["new"] == pytest.approx(values["old"], rel=1e-4, abs=1e-5)


# --- old names -----------------------------------------------------------------------------------


def test_old_names_still_work(report):
    with pytest.warns(DeprecationWarning, match="AuditReport"):
        assert report_module.Report is AuditReport
    with pytest.warns(DeprecationWarning, match="failed_variants"):
        assert report.failed == report.failed_variants
    created_at = datetime(2026, 1, 2, tzinfo=timezone.utc)
    with pytest.warns(DeprecationWarning, match="with_provenance"):
        signed = report.signed("a command", created_at)
    assert signed.to_json() == report.with_provenance("a command", created_at).to_json()
    with pytest.warns(DeprecationWarning, match="previous="):
        assert len(report.compare(old=report)) == 4


def test_the_report_is_a_public_name():
    assert nv.AuditReport is AuditReport
