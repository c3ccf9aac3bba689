"""The preflight sees each planted fault, and nothing where there is none."""

import numpy as np
import pytest

from nestvec.auditing.compression.compressor import Codec, encode
from nestvec.auditing.compression.variants import default_grid
from nestvec.auditing.preflight import (
    check_answers,
    check_cosine,
    check_rows,
    check_variant,
    check_vectors_given,
    has_failed,
    self_checks,
)
from nestvec.auditing.ranking.full_ranking import rank
from nestvec.auditing.types import Encoded, Ranking, Variant


def given(full):
    return check_vectors_given(full, np.full(len(full.queries), -1))


def statuses(checks):
    return {check.name: check.status for check in checks}


def test_every_variant_of_the_grid_passes(corpus):
    for variant in default_grid(64):
        encoded = encode(corpus.documents, corpus.queries, variant)
        checks = check_variant(variant, corpus.full, encoded, unit=True)
        assert not has_failed(checks), (variant.name, checks)


def test_it_is_said_what_forgetting_to_renormalise_would_change(corpus):
    nobody = np.full(200, -1)
    (check,) = check_cosine(Variant(8), corpus.full, nobody)
    assert 0.05 < check.value < 0.9
    assert check_cosine(Variant(64), corpus.full, nobody) == []
    assert check_cosine(Variant(8, 1), corpus.full, nobody) == []


def test_it_is_said_whether_cosine_and_inner_product_agree(corpus):
    lengths = np.random.default_rng(0).uniform(1, 3, (400, 1)).astype(np.float32)
    (check, _) = given(Encoded(corpus.queries, lengths * corpus.documents))
    assert "others than by cosine" in check.said


# Planted faults of a variant.


def test_an_unnormalised_slice_fails(corpus):
    sliced = Encoded(corpus.queries[:, :16].copy(), corpus.documents[:, :16].copy())
    assert statuses(check_variant(Variant(16), corpus.full, sliced, unit=True)) == {
        "width": "ok",
        "change": "ok",
        "renormalised": "fail",
    }


def test_a_slice_of_vectors_without_unit_length_may_have_any(corpus):
    sliced = Encoded(corpus.queries[:, :16].copy(), 3 * corpus.documents[:, :16])
    full = Encoded(corpus.queries, 3 * corpus.documents)
    assert not has_failed(check_variant(Variant(16), full, sliced, unit=False))


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_a_calibration_per_side_fails(corpus, bits):
    sides = (corpus.queries[:50], corpus.documents)
    apart = Encoded(*(Codec.fit(side, bits).round(side) for side in sides))
    full = Encoded(*sides)
    assert statuses(check_variant(Variant(64, bits), full, apart, unit=True)) == {
        "width": "ok",
        "change": "ok",
        "same calibration": "fail",
    }


def test_bits_as_0_and_1_on_one_side_alone_fail(corpus):
    signs = encode(corpus.documents, corpus.queries, Variant(64, 1))
    mixed = Encoded((signs.queries + 1) / 2, signs.documents)
    checks = check_variant(Variant(64, 1), corpus.full, mixed, unit=True)
    assert statuses(checks)["same calibration"] == "fail"


def test_floats_that_claim_to_be_codes_fail(corpus):
    checks = check_variant(Variant(64, 4), corpus.full, corpus.full, unit=True)
    assert statuses(checks) == {"width": "ok", "change": "fail", "same calibration": "fail"}


def test_packed_bytes_taken_for_dimensions_fail(corpus):
    packed = Encoded(corpus.queries[:, :8], corpus.documents[:, :8])
    assert (
        statuses(check_variant(Variant(64, 1), corpus.full, packed, unit=True))["width"] == "fail"
    )


def test_nothing_made_smaller_fails_unless_it_is_full_precision(corpus):
    assert statuses(check_variant(Variant(64), corpus.full, corpus.full, True))["change"] == "ok"
    assert statuses(check_variant(Variant(8), corpus.full, corpus.full, True))["change"] == "fail"


def test_levels_cannot_be_told_from_few_documents(corpus):
    few = Encoded(corpus.queries, corpus.documents[:20])
    encoded = encode(few.documents, few.queries, Variant(64, 8))
    checks = check_variant(Variant(64, 8), few, encoded, unit=True)
    assert statuses(checks)["same calibration"] == "skipped"


def test_one_sided_codes_have_no_common_calibration(corpus):
    variant = Variant(64, 8, side="documents")
    encoded = encode(corpus.documents, corpus.queries, variant)
    checks = check_variant(variant, corpus.full, encoded, unit=True)
    assert statuses(checks)["same calibration"] == "skipped"


# Answers.


def test_missing_answers_fail_and_ties_warn():
    rows = np.tile(np.arange(12), (4, 1))
    rows[0, 3] = -1
    scores = np.tile(np.arange(12, 0, -1), (4, 1)).astype(np.float32)
    scores[1, 10] = scores[1, 9]
    checks = {check.name: check for check in check_answers(Ranking(rows, scores))}
    assert (checks["complete"].status, checks["complete"].value) == ("fail", 1)
    assert (checks["ties"].status, checks["ties"].value) == ("warning", 0.25)


# What is given.


def test_unit_vectors_are_recognised_and_others_warn(corpus):
    assert statuses(given(corpus.full))["unit length"] == "ok"
    longer = Encoded(corpus.queries, 2 * corpus.documents)
    assert statuses(given(longer))["unit length"] == "warning"


def test_constant_dimensions_warn(corpus):
    documents = corpus.documents.copy()
    documents[:, 5] = 0.5
    checks = given(Encoded(corpus.queries, documents))
    assert statuses(checks)["constant dimensions"] == "warning"


def test_copies_and_leaks_are_counted(corpus):
    documents = np.concatenate([corpus.documents, corpus.documents[:100]])
    own = np.full(200, -1)
    own[:10] = np.arange(10)
    checks = {check.name: check for check in check_rows(documents, own, relevant_to_itself=10)}
    assert checks["duplicates"].value == pytest.approx(0.2)
    assert checks["queries among documents"].value == pytest.approx(0.05)
    assert checks["queries among documents"].status == "warning"
    assert checks["leaked answers"].status == "fail"


def test_clean_rows_have_nothing_to_say(corpus):
    checks = check_rows(corpus.documents, np.full(200, -1), relevant_to_itself=0)
    assert set(statuses(checks).values()) == {"ok"}


# The audit itself.


def test_the_audit_passes_its_own_checks(corpus, rng):
    checks = self_checks(corpus.full, np.full(200, -1), rng)
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


def test_queries_that_cannot_tell_good_from_bad_are_said_to(rng):
    # All dimensions alike: shuffling them changes nothing that could be seen.
    documents = np.repeat(rng.standard_normal((30, 1)), 4, axis=1).astype(np.float32)
    full = Encoded(documents[:20] + np.float32(1e-3), documents)
    assert rank(full, 10, np.full(20, -1))
    checks = self_checks(full, np.full(20, -1), rng)
    assert statuses(checks)["shuffled dimensions"] == "fail"
