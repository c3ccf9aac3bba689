"""The whole audit: its shape, its laws, and the faults that it must not miss."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest

import nestvec as nv
from nestvec.auditing.compression.compressor import encode
from nestvec.auditing.reporting.report import SCHEMA, Report
from nestvec.auditing.types import Variant
from nestvec.errors import DataError, IdsError, InputError

SOME = [{"dims": 64}, {"dims": 32}, {"dims": 4}, {"dims": 64, "bits": 1}]


@pytest.fixture(scope="module")
def report(corpus):
    return nv.audit(corpus.documents, corpus.queries, corpus.qrels, variants=SOME)


def by_name(report):
    return {one["name"]: one for one in report.to_json()["variants"]}


# Shape.


def test_every_variant_has_dims_bits_a_verdict_and_metrics(report):
    content = report.to_json()
    assert [(v["dims"], v["bits"]) for v in content["variants"]] == [
        (64, 32), (32, 32), (4, 32), (64, 1),
    ]  # fmt: skip
    for variant in content["variants"]:
        assert variant["verdict"] in ("PASS", "FAIL", "INSUFFICIENT DATA")
        assert variant["reasons"]
        for metric in variant["metrics"].values():
            assert list(metric) == ["value", "low", "high", "n"]


def test_the_report_says_what_it_is_of(report):
    content = report.to_json()
    assert content["schema"] == SCHEMA
    assert content["seed"] == 0
    assert content["inputs"]["documents"]["n"] == 400
    assert len(content["inputs"]["queries"]["sha256"]) == 64
    assert content["thresholds"]["retention"] == 0.98
    assert content["full"]["metrics"]["ndcg@10"]["n"] == 200


def test_the_report_is_json_without_infinity(report):
    text = json.dumps(report.to_json(), allow_nan=False)
    assert json.loads(text) == report.to_json()


def test_changing_what_is_given_out_does_not_change_the_report(report):
    report.to_json()["variants"].clear()
    assert len(report.to_json()["variants"]) == 4


def test_equal_input_gives_an_equal_report(corpus):
    one, again = (
        nv.audit(corpus.documents, corpus.queries, variants=SOME[1:2]).to_json() for _ in range(2)
    )
    assert one == again


def test_a_variant_s_figures_do_not_depend_on_the_others(corpus, report):
    alone = nv.audit(corpus.documents, corpus.queries, corpus.qrels, variants=SOME[1:2])
    one = {**by_name(report)["32 dims, 32 bits"]["metrics"]}
    assert by_name(alone)["32 dims, 32 bits"]["metrics"] == one


def test_the_function_stays_where_it_is_after_the_package_is_loaded(report):
    import nestvec.auditing.runner  # noqa: F401

    assert callable(nv.audit)


# Laws.


def test_full_against_full_keeps_everything_and_passes(report):
    full = by_name(report)["64 dims, 32 bits"]
    assert full["verdict"] == "PASS"
    for name, metric in full["metrics"].items():
        if name.endswith("_retention"):
            assert metric["value"] == 1
    assert full["metrics"]["overlap@10"]["value"] == 1
    assert report.to_json()["worst_queries"]["64 dims, 32 bits"] == []


def test_too_few_dims_fail_and_show_their_worst_queries(report):
    assert by_name(report)["4 dims, 32 bits"]["verdict"] == "FAIL"
    worst = report.to_json()["worst_queries"]["4 dims, 32 bits"]
    assert len(worst) == 20
    assert worst[0]["before"] > worst[0]["after"]
    assert len(worst[0]["full"]) == len(worst[0]["variant"]) == 10


def test_safe_dims_are_those_that_pass(report):
    safe = {one["bits"]: one["dims"] for one in report.to_json()["safe_dims"]}
    passed = [v["dims"] for v in report.to_json()["variants"] if v["verdict"] == "PASS"]
    assert safe[32] == min(passed)


def test_without_judgements_the_full_answers_are_the_measure(corpus):
    report = nv.audit(corpus.documents, corpus.queries, variants=[SOME[0], SOME[2]])
    found = by_name(report)
    assert found["64 dims, 32 bits"]["verdict"] == "PASS"
    assert found["4 dims, 32 bits"]["verdict"] == "FAIL"
    assert "overlap_with_ties@10" in found["4 dims, 32 bits"]["reasons"][0]
    assert report.to_json()["knee"] is None


def test_the_default_grid_has_controls_that_do_not_fail_a_report(corpus):
    report = nv.audit(corpus.documents, corpus.queries[:30])
    controls = [one for one in report.to_json()["variants"] if one["control"]]
    assert {one["rotation"] for one in controls} == {"random", "pca"}
    assert not {one["name"] for one in controls} & set(report.failed)


def test_rescoring_brings_the_answers_back(corpus):
    variants = [{"dims": 16, "bits": 1}, {"dims": 16, "bits": 1, "rescore": 100}]
    found = by_name(nv.audit(corpus.documents, corpus.queries, variants=variants))
    plain, rescored = (one["metrics"]["overlap@10"]["value"] for one in found.values())
    assert rescored > plain + 0.2
    depths = [one["metrics"]["shortlist_95%"] for one in found.values()]
    assert depths[0] == depths[1]


def test_a_shortlist_of_the_whole_corpus_is_the_full_answer(corpus):
    variants = [{"dims": 8, "bits": 1, "rescore": 400}]
    (one,) = by_name(nv.audit(corpus.documents, corpus.queries, variants=variants)).values()
    assert one["metrics"]["overlap@10"]["value"] == 1


def test_ids_of_any_kind_name_rows(corpus, report):
    ids = [f"d{row}" for row in range(400)]
    asked = [f"q{row}" for row in range(200)]
    qrels = {f"q{row}": {f"d{row}": 1} for row in range(200)}
    named = nv.audit(
        corpus.documents, corpus.queries, qrels, variants=SOME[2:3], ids=ids, query_ids=asked
    )
    metrics = by_name(report)["4 dims, 32 bits"]["metrics"]
    assert by_name(named)["4 dims, 32 bits"]["metrics"] == metrics
    worst = named.to_json()["worst_queries"]["4 dims, 32 bits"][0]
    assert worst["query"] in asked
    assert set(worst["full"]) <= set(ids)


def test_groups_are_the_units(corpus):
    groups = [f"user {row // 10}" for row in range(200)]
    report = nv.audit(
        corpus.documents, corpus.queries, corpus.qrels, variants=SOME[1:2], groups=groups
    )
    (one,) = by_name(report).values()
    assert one["metrics"]["ndcg@10_retention"]["n"] == 20
    assert one["verdict"] == "INSUFFICIENT DATA"


def test_an_index_is_audited_by_its_vectors(corpus, tmp_path, report):
    index = nv.Index.build(corpus.documents, tmp_path / "x.nv")
    found = nv.audit(index, corpus.queries, corpus.qrels, variants=SOME[1:2])
    metrics = by_name(report)["32 dims, 32 bits"]["metrics"]
    assert by_name(found)["32 dims, 32 bits"]["metrics"] == metrics


def test_an_index_by_distance_is_refused(corpus, tmp_path):
    index = nv.Index.build(corpus.documents, tmp_path / "x.nv", metric="euclidean")
    with pytest.raises(InputError, match="distance"):
        nv.audit(index, corpus.queries)


def test_stress_and_growth_are_measured(report):
    found = by_name(report)["32 dims, 32 bits"]
    names = ("noise_0.95_interaction", "farthest_quarter_interaction", "attack_success")
    assert found["metrics"].keys() > {*names, "recall@10_at_tenth"}
    assert found["details"].keys() >= {"corpus_growth", "resolution", "noise_0.99", "poisoning"}


def test_noise_takes_nothing_from_the_full_vectors_that_they_had_not_lost_themselves(report):
    full = by_name(report)["64 dims, 32 bits"]["metrics"]
    assert full["noise_0.95_interaction"]["value"] == 1
    assert full["attack_gain"]["value"] == 0


def test_hard_negatives_are_part_of_the_verdict(corpus):
    hard = [(row, row, (row + 1) % 400, "next") for row in range(200)]
    report = nv.audit(corpus.documents, corpus.queries, hard_negatives=hard, variants=SOME[:1])
    metrics = by_name(report)["64 dims, 32 bits"]["metrics"]
    assert metrics["net_flips"]["value"] == 0
    assert metrics["triplet_accuracy:next"]["n"] == 200


# Planted faults.


def given(encoded, **fields):
    return {**fields, "documents": encoded.documents, "queries": encoded.queries}


def test_an_unnormalised_slice_fails(corpus):
    sliced = {
        "dims": 32, "documents": corpus.documents[:, :32], "queries": corpus.queries[:, :32],
    }  # fmt: skip
    (one,) = by_name(nv.audit(corpus.documents, corpus.queries, variants=[sliced])).values()
    assert one["verdict"] == "FAIL"
    assert "renormalise" in one["reasons"][0]


def test_a_calibration_per_side_fails(corpus):
    right = encode(corpus.documents, corpus.queries, Variant(64, 8))
    turned = encode(corpus.queries, corpus.queries, Variant(64, 8))
    wrong = {"dims": 64, "bits": 8, "documents": right.documents, "queries": turned.queries}
    (one,) = by_name(nv.audit(corpus.documents, corpus.queries, variants=[wrong])).values()
    assert one["verdict"] == "FAIL"
    assert "calibrate" in one["reasons"][0]
    sound = given(right, dims=64, bits=8)
    (one,) = by_name(nv.audit(corpus.documents, corpus.queries, variants=[sound])).values()
    assert one["verdict"] == "PASS"


def test_shuffled_dimensions_fail(corpus):
    shuffled = {
        "dims": 64,
        "documents": corpus.documents,
        "queries": np.roll(corpus.queries, 32, axis=1),
    }
    (one,) = by_name(nv.audit(corpus.documents, corpus.queries, variants=[shuffled])).values()
    assert one["verdict"] == "FAIL"


def test_queries_from_the_corpus_do_not_answer_themselves(corpus):
    report = nv.audit(corpus.documents, corpus.documents[:200], variants=SOME[1:2])
    assert report.to_json()["inputs"]["queries_among_documents"] == 200
    status = {check["name"]: check["status"] for check in report.to_json()["preflight"]}
    assert status["queries among documents"] == "warning"
    (one,) = by_name(report).values()
    assert one["metrics"]["overlap@10"]["value"] < 1


def test_leaked_answers_fail_everything(corpus):
    report = nv.audit(corpus.documents, corpus.documents[:200], corpus.qrels, variants=SOME[:1])
    (one,) = by_name(report).values()
    assert one["verdict"] == "FAIL"
    assert "judged to answer themselves" in one["reasons"][0]


def test_own_rows_can_be_told(corpus):
    own = np.arange(200)
    found = nv.audit(corpus.documents, corpus.queries, variants=SOME[:1], own_rows=own)
    assert found.to_json()["inputs"]["queries_among_documents"] == 200
    with pytest.raises(InputError, match="own_rows"):
        nv.audit(corpus.documents, corpus.queries, own_rows=own[:5])


def test_too_few_queries_are_told_how_many_it_takes(corpus):
    report = nv.audit(corpus.documents, corpus.queries[:30], corpus.qrels, variants=SOME[:1])
    (one,) = by_name(report).values()
    assert one["verdict"] == "INSUFFICIENT DATA"
    assert one["queries_needed"] == 149


@pytest.mark.parametrize(
    ("changes", "error", "word"),
    [
        ({"variants": []}, InputError, "at least one"),
        ({"variants": [{"dims": 8}, {"dims": 8}]}, InputError, "none twice"),
        ({"variants": [{"dims": 8, "documents": np.ones((3, 8))}]}, InputError, "queries"),
        ({"ids": [1] * 400}, IdsError, "400 ids"),
        ({"groups": [1]}, InputError, "1 groups"),
        ({"hard_negatives": [(0, 1, "no")]}, InputError, "'no'"),
        ({"thresholds": {"x": 1}}, InputError, "'x'"),
        ({"qrels": {5000: {1: 1}}}, InputError, "any of the queries"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(corpus, changes, error, word):
    with pytest.raises(error, match=word):
        nv.audit(**{"vectors": corpus.documents, "queries": corpus.queries} | changes)


def test_too_few_documents_are_refused(corpus):
    with pytest.raises(InputError, match="over 5 vectors"):
        nv.audit(corpus.documents[:5], corpus.queries)


# Files.


def test_a_saved_report_is_the_same(report, tmp_path):
    report.save_json(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json").to_json() == report.to_json()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema": "other"}', '{"schema": "nestvec.audit/1"}']
)
def test_other_files_are_no_reports(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match="report"):
        Report.load(tmp_path / "x.json")


def test_junit_has_a_case_per_variant(report, tmp_path):
    report.save_junit(tmp_path / "audit.xml")
    suite = ElementTree.parse(tmp_path / "audit.xml").getroot()
    assert suite.attrib["tests"] == "4"
    assert int(suite.attrib["failures"]) == len(report.failed) >= 1
    cases = {case.attrib["name"]: case for case in suite}
    assert cases["4 dims, 32 bits"][0].tag == "failure"
    (printed,) = cases["64 dims, 32 bits"]
    assert printed.tag == "system-out"
    lines = printed.text.splitlines()
    assert any(line.startswith("ndcg@10_retention 1 (1 to 1, n=") for line in lines)
    (variant,) = (v for v in report.content["variants"] if v["name"] == "64 dims, 32 bits")
    assert [line.split()[0] for line in lines] == list(variant["metrics"])


def test_comparing_with_itself_nothing_moved(report):
    changes = report.compare(report)
    assert [one["moved"] for one in changes] == [{}] * 4
    assert all(one["before"] == one["after"] for one in changes)


def test_what_moved_is_said(corpus, report):
    other = nv.audit(
        corpus.documents, np.roll(corpus.queries, 1, axis=1), corpus.qrels, variants=SOME[:1]
    )
    (one,) = other.compare(report)
    assert one["name"] == "64 dims, 32 bits"
    assert "ndcg@10" in one["moved"]
