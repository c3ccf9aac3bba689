"""The preflight detects each planted fault, and reports nothing where there is none."""

import numpy as np
import pytest

from nestvec.auditing.compression.scalar_quantizer import ScalarQuantizer
from nestvec.auditing.compression.variant_encoder import encode_variant
from nestvec.auditing.compression.variants import default_grid
from nestvec.auditing.preflight import (
    check_cosine,
    check_duplicates,
    check_input_vectors,
    check_ranking,
    check_variant,
    has_failed,
    self_tests,
)
from nestvec.auditing.ranking.full_ranking import rank_all
from nestvec.auditing.types import EmbeddingPair, Ranking, Variant


def check_inputs(full):
    return check_input_vectors(full, np.full(len(full.queries), -1))


def statuses(checks):
    return {check.name: check.status for check in checks}


def test_every_variant_of_the_grid_passes(corpus):
    for variant in default_grid(64):
        embeddings = encode_variant(corpus.documents, corpus.queries, variant)
        checks = check_variant(variant, corpus.full, embeddings, unit=True)
        assert not has_failed(checks), (variant.name, checks)


def test_the_effect_of_missing_renormalisation_is_reported(corpus):
    no_self_match = np.full(200, -1)
    (check,) = check_cosine(Variant(8), corpus.full, no_self_match)
    assert 0.05 < check.value < 0.9
    assert check_cosine(Variant(64), corpus.full, no_self_match) == []
    assert check_cosine(Variant(8, 1), corpus.full, no_self_match) == []


def test_disagreement_of_cosine_and_inner_product_is_reported(corpus):
    lengths = np.random.default_rng(0).uniform(1, 3, (400, 1)).astype(np.float32)
    (check, _) = check_inputs(EmbeddingPair(corpus.queries, lengths * corpus.documents))
    assert "others than by cosine" in check.message


# Planted faults of a variant.


def test_a_prefix_without_renormalisation_fails(corpus):
    sliced = EmbeddingPair(corpus.queries[:, :16].copy(), corpus.documents[:, :16].copy())
    assert statuses(check_variant(Variant(16), corpus.full, sliced, unit=True)) == {
        "width": "ok",
        "change": "ok",
        "renormalised": "fail",
    }


def test_prefixes_of_vectors_without_unit_length_may_have_any_length(corpus):
    sliced = EmbeddingPair(corpus.queries[:, :16].copy(), 3 * corpus.documents[:, :16])
    full = EmbeddingPair(corpus.queries, 3 * corpus.documents)
    assert not has_failed(check_variant(Variant(16), full, sliced, unit=False))


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_a_calibration_per_side_fails(corpus, bits):
    sides = (corpus.queries[:50], corpus.documents)
    calibrated_apart = EmbeddingPair(
        *(ScalarQuantizer.fit(side, bits).round(side) for side in sides)
    )
    full = EmbeddingPair(*sides)
    assert statuses(check_variant(Variant(64, bits), full, calibrated_apart, unit=True)) == {
        "width": "ok",
        "change": "ok",
        "same calibration": "fail",
    }


def test_bits_as_0_and_1_on_one_side_alone_fail(corpus):
    signs = encode_variant(corpus.documents, corpus.queries, Variant(64, 1))
    mixed = EmbeddingPair((signs.queries + 1) / 2, signs.documents)
    checks = check_variant(Variant(64, 1), corpus.full, mixed, unit=True)
    assert statuses(checks)["same calibration"] == "fail"


def test_floats_that_are_labelled_as_codes_fail(corpus):
    checks = check_variant(Variant(64, 4), corpus.full, corpus.full, unit=True)
    assert statuses(checks) == {"width": "ok", "change": "fail", "same calibration": "fail"}


def test_packed_bytes_in_place_of_dimensions_fail(corpus):
    packed = EmbeddingPair(corpus.queries[:, :8], corpus.documents[:, :8])
    assert (
        statuses(check_variant(Variant(64, 1), corpus.full, packed, unit=True))["width"] == "fail"
    )


def test_unchanged_vectors_fail_unless_the_variant_is_full_precision(corpus):
    assert statuses(check_variant(Variant(64), corpus.full, corpus.full, True))["change"] == "ok"
    assert statuses(check_variant(Variant(8), corpus.full, corpus.full, True))["change"] == "fail"


def test_levels_cannot_be_told_from_few_documents(corpus):
    few = EmbeddingPair(corpus.queries, corpus.documents[:20])
    embeddings = encode_variant(few.documents, few.queries, Variant(64, 8))
    checks = check_variant(Variant(64, 8), few, embeddings, unit=True)
    assert statuses(checks)["same calibration"] == "skipped"


def test_one_sided_codes_have_no_common_calibration(corpus):
    variant = Variant(64, 8, side="documents")
    embeddings = encode_variant(corpus.documents, corpus.queries, variant)
    checks = check_variant(variant, corpus.full, embeddings, unit=True)
    assert statuses(checks)["same calibration"] == "skipped"


# Rankings.


def test_missing_hits_fail_and_ties_warn():
    rows = np.tile(np.arange(12), (4, 1))
    rows[0, 3] = -1
    scores = np.tile(np.arange(12, 0, -1), (4, 1)).astype(np.float32)
    scores[1, 10] = scores[1, 9]
    checks = {check.name: check for check in check_ranking(Ranking(rows, scores))}
    assert (checks["complete"].status, checks["complete"].value) == ("fail", 1)
    assert (checks["ties"].status, checks["ties"].value) == ("warning", 0.25)


# Inputs.


def test_unit_vectors_are_recognised_and_others_warn(corpus):
    assert statuses(check_inputs(corpus.full))["unit length"] == "ok"
    longer = EmbeddingPair(corpus.queries, 2 * corpus.documents)
    assert statuses(check_inputs(longer))["unit length"] == "warning"


def test_constant_dimensions_warn(corpus):
    documents = corpus.documents.copy()
    documents[:, 5] = 0.5
    checks = check_inputs(EmbeddingPair(corpus.queries, documents))
    assert statuses(checks)["constant dimensions"] == "warning"


def test_copies_and_leaks_are_counted(corpus):
    documents = np.concatenate([corpus.documents, corpus.documents[:100]])
    self_match = np.full(200, -1)
    self_match[:10] = np.arange(10)
    checks = {check.name: check for check in check_duplicates(documents, self_match, n_leaks=10)}
    assert checks["duplicates"].value == pytest.approx(0.2)
    assert checks["queries among documents"].value == pytest.approx(0.05)
    assert checks["queries among documents"].status == "warning"
    assert checks["leaked answers"].status == "fail"


def test_clean_rows_pass_every_check(corpus):
    checks = check_duplicates(corpus.documents, np.full(200, -1), n_leaks=0)
    assert set(statuses(checks).values()) == {"ok"}


# The audit itself.


def test_the_audit_passes_its_self_tests(corpus, rng):
    checks = self_tests(corpus.full, np.full(200, -1), rng)
    assert statuses(checks) == {
        "determinism": "ok",
        "full against full": "ok",
        "random vectors": "ok",
        "shuffled dimensions": "ok",
    }
    values = {check.name: check.value for check in checks}
    assert values["full against full"] == 1
    assert values["random vectors"] < 0.1
    assert values["shuffled dimensions"] < 0.2


def test_queries_that_cannot_tell_good_from_bad_fail(rng):
    # All dimensions alike: shuffling them changes nothing that could be seen.
    documents = np.repeat(rng.standard_normal((30, 1)), 4, axis=1).astype(np.float32)
    full = EmbeddingPair(documents[:20] + np.float32(1e-3), documents)
    assert rank_all(full, 10, np.full(20, -1))
    checks = self_tests(full, np.full(20, -1), rng)
    assert statuses(checks)["shuffled dimensions"] == "fail"
