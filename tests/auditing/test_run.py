"""The whole audit: the shape of its report, its laws, and faults that it must detect."""

import json

import numpy as np
import pytest

import nestvec as nv
from nestvec.auditing.compression.variant_encoder import encode_variant
from nestvec.auditing.reporting.report import SCHEMA
from nestvec.auditing.types import Variant
from nestvec.errors import IdsError, InputError

VARIANTS = [{"dims": 64}, {"dims": 32}, {"dims": 4}, {"dims": 64, "bits": 1}]


@pytest.fixture(scope="module")
def report(corpus):
    return nv.audit(corpus.documents, corpus.queries, corpus.qrels, variants=VARIANTS)


def by_name(report):
    return {variant["name"]: variant for variant in report.to_json()["variants"]}


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


def test_the_report_describes_its_inputs(report):
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


def test_changing_a_json_copy_does_not_change_the_report(report):
    report.to_json()["variants"].clear()
    assert len(report.to_json()["variants"]) == 4


def test_equal_input_gives_an_equal_report(corpus):
    first_report, second_report = (
        nv.audit(corpus.documents, corpus.queries, variants=VARIANTS[1:2]).to_json()
        for _ in range(2)
    )
    assert first_report == second_report


def test_a_variant_s_figures_do_not_depend_on_the_others(corpus, report):
    separate = nv.audit(corpus.documents, corpus.queries, corpus.qrels, variants=VARIANTS[1:2])
    variant = {**by_name(report)["32 dims, 32 bits"]["metrics"]}
    assert by_name(separate)["32 dims, 32 bits"]["metrics"] == variant


def test_the_function_stays_where_it_is_after_the_package_is_loaded(report):
    import nestvec.auditing.runner  # noqa: F401

    assert callable(nv.audit)


# Laws.


def test_the_full_vectors_retain_everything_and_pass(report):
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
    assert worst[0]["baseline_score"] > worst[0]["variant_score"]
    assert len(worst[0]["baseline_top"]) == len(worst[0]["variant_top"]) == 10


def test_safe_dims_are_those_that_pass(report):
    safe = {entry["bits"]: entry["dims"] for entry in report.to_json()["safe_dims"]}
    passing = [v["dims"] for v in report.to_json()["variants"] if v["verdict"] == "PASS"]
    assert safe[32] == min(passing)


def test_without_judgments_the_overlap_with_the_baseline_decides(corpus):
    report = nv.audit(corpus.documents, corpus.queries, variants=[VARIANTS[0], VARIANTS[2]])
    audited = by_name(report)
    assert audited["64 dims, 32 bits"]["verdict"] == "PASS"
    assert audited["4 dims, 32 bits"]["verdict"] == "FAIL"
    assert "overlap_with_ties@10" in audited["4 dims, 32 bits"]["reasons"][0]
    assert report.to_json()["knee"] is None


def test_the_default_grid_has_controls_that_do_not_fail_a_report(corpus):
    report = nv.audit(corpus.documents, corpus.queries[:30])
    controls = [v for v in report.to_json()["variants"] if v["control"]]
    kinds = {(control["rotation"], control["random_dims"]) for control in controls}
    assert kinds == {("none", True), ("pca", False)}
    assert not {control["name"] for control in controls} & set(report.failed_variants)


def test_a_rerank_recovers_the_ranking(corpus):
    variants = [{"dims": 16, "bits": 1}, {"dims": 16, "bits": 1, "rerank": 100}]
    audited = by_name(nv.audit(corpus.documents, corpus.queries, variants=variants))
    plain, reranked = (v["metrics"]["overlap@10"]["value"] for v in audited.values())
    assert reranked > plain + 0.2
    depths = [v["metrics"]["shortlist_95%"] for v in audited.values()]
    assert depths[0] == depths[1]


def test_a_shortlist_of_the_whole_corpus_gives_the_baseline(corpus):
    variants = [{"dims": 8, "bits": 1, "rerank": 400}]
    (variant,) = by_name(nv.audit(corpus.documents, corpus.queries, variants=variants)).values()
    assert variant["metrics"]["overlap@10"]["value"] == 1


def test_ids_of_any_kind_name_rows(corpus, report):
    ids = [f"d{row}" for row in range(400)]
    names_of_queries = [f"q{row}" for row in range(200)]
    qrels = {f"q{row}": {f"d{row}": 1} for row in range(200)}
    named = nv.audit(
        corpus.documents,
        corpus.queries,
        qrels,
        variants=VARIANTS[2:3],
        ids=ids,
        query_ids=names_of_queries,
    )
    metrics = by_name(report)["4 dims, 32 bits"]["metrics"]
    assert by_name(named)["4 dims, 32 bits"]["metrics"] == metrics
    worst = named.to_json()["worst_queries"]["4 dims, 32 bits"][0]
    assert worst["query"] in names_of_queries
    assert set(worst["baseline_top"]) <= set(ids)


def test_groups_are_the_units_of_intervals(corpus):
    groups = [f"user {row // 10}" for row in range(200)]
    report = nv.audit(
        corpus.documents, corpus.queries, corpus.qrels, variants=VARIANTS[1:2], groups=groups
    )
    (variant,) = by_name(report).values()
    assert variant["metrics"]["ndcg@10_retention"]["n"] == 20
    assert variant["verdict"] == "INSUFFICIENT DATA"


def test_an_index_is_audited_by_its_vectors(corpus, tmp_path, report):
    index = nv.Index.build(corpus.documents, tmp_path / "x.nv")
    audited = nv.audit(index, corpus.queries, corpus.qrels, variants=VARIANTS[1:2])
    metrics = by_name(report)["32 dims, 32 bits"]["metrics"]
    assert by_name(audited)["32 dims, 32 bits"]["metrics"] == metrics


def test_an_index_by_distance_is_refused(corpus, tmp_path):
    index = nv.Index.build(corpus.documents, tmp_path / "x.nv", metric="euclidean")
    with pytest.raises(InputError, match="distance"):
        nv.audit(index, corpus.queries)


def test_stress_and_growth_are_measured(report):
    audited = by_name(report)["32 dims, 32 bits"]
    names = ("noise_0.95_interaction", "farthest_quarter_interaction", "attack_success")
    assert audited["metrics"].keys() > {*names, "recall@10_at_tenth"}
    assert audited["details"].keys() >= {"corpus_growth", "resolution", "noise_0.99", "poisoning"}


def test_stress_does_not_interact_with_the_full_vectors_themselves(report):
    full = by_name(report)["64 dims, 32 bits"]["metrics"]
    assert full["noise_0.95_interaction"]["value"] == 1
    assert full["attack_gain"]["value"] == 0


def test_hard_negatives_are_part_of_the_verdict(corpus):
    hard = [(row, row, (row + 1) % 400, "next") for row in range(200)]
    report = nv.audit(corpus.documents, corpus.queries, hard_negatives=hard, variants=VARIANTS[:1])
    metrics = by_name(report)["64 dims, 32 bits"]["metrics"]
    assert metrics["net_flips"]["value"] == 0
    assert metrics["triplet_accuracy:next"]["n"] == 200


# Planted faults.


def precomputed(embeddings, **fields):
    return {**fields, "documents": embeddings.documents, "queries": embeddings.queries}


def test_a_prefix_without_renormalisation_fails(corpus):
    sliced = {
        "dims": 32, "documents": corpus.documents[:, :32], "queries": corpus.queries[:, :32],
    }  # fmt: skip
    (variant,) = by_name(nv.audit(corpus.documents, corpus.queries, variants=[sliced])).values()
    assert variant["verdict"] == "FAIL"
    assert "renormalise" in variant["reasons"][0]


def test_a_calibration_per_side_fails(corpus):
    correct = encode_variant(corpus.documents, corpus.queries, Variant(64, 8))
    by_queries = encode_variant(corpus.queries, corpus.queries, Variant(64, 8))
    wrong = {"dims": 64, "bits": 8, "documents": correct.documents, "queries": by_queries.queries}
    (variant,) = by_name(nv.audit(corpus.documents, corpus.queries, variants=[wrong])).values()
    assert variant["verdict"] == "FAIL"
    assert "calibrate" in variant["reasons"][0]
    valid = precomputed(correct, dims=64, bits=8)
    (variant,) = by_name(nv.audit(corpus.documents, corpus.queries, variants=[valid])).values()
    assert variant["verdict"] == "PASS"


def test_shuffled_dimensions_fail(corpus):
    shuffled = {
        "dims": 64,
        "documents": corpus.documents,
        "queries": np.roll(corpus.queries, 32, axis=1),
    }
    (variant,) = by_name(nv.audit(corpus.documents, corpus.queries, variants=[shuffled])).values()
    assert variant["verdict"] == "FAIL"


def test_queries_from_the_corpus_are_not_their_own_hits(corpus):
    report = nv.audit(corpus.documents, corpus.documents[:200], variants=VARIANTS[1:2])
    assert report.to_json()["inputs"]["self_matches"] == 200
    status = {check["name"]: check["status"] for check in report.to_json()["preflight"]}
    assert status["queries among documents"] == "warning"
    (variant,) = by_name(report).values()
    assert variant["metrics"]["overlap@10"]["value"] < 1


def test_leaked_answers_fail_everything(corpus):
    report = nv.audit(corpus.documents, corpus.documents[:200], corpus.qrels, variants=VARIANTS[:1])
    (variant,) = by_name(report).values()
    assert variant["verdict"] == "FAIL"
    assert "judged to answer themselves" in variant["reasons"][0]


def test_self_matches_can_be_passed(corpus):
    rows = np.arange(200)
    audited = nv.audit(corpus.documents, corpus.queries, variants=VARIANTS[:1], self_match=rows)
    assert audited.to_json()["inputs"]["self_matches"] == 200
    with pytest.raises(InputError, match="self_match"):
        nv.audit(corpus.documents, corpus.queries, self_match=rows[:5])


def test_too_few_queries_are_insufficient_and_the_number_needed_is_reported(corpus):
    report = nv.audit(corpus.documents, corpus.queries[:30], corpus.qrels, variants=VARIANTS[:1])
    (variant,) = by_name(report).values()
    assert variant["verdict"] == "INSUFFICIENT DATA"
    assert variant["queries_needed"] == 149


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
def test_the_error_names_what_does_not_fit(corpus, changes, error, word):
    with pytest.raises(error, match=word):
        nv.audit(**{"vectors": corpus.documents, "queries": corpus.queries} | changes)


def test_too_few_documents_are_refused(corpus):
    with pytest.raises(InputError, match="over 5 vectors"):
        nv.audit(corpus.documents[:5], corpus.queries)
