"""Hard negatives: laws of the counts, planted faults, and intervals where there can be some."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import quantile_test

from nestvec.auditing.measures import hard_negatives as hard
from nestvec.auditing.measures.hard_negatives import easy_triplets
from nestvec.auditing.measures.margins import triplet_margins
from nestvec.auditing.ranking.scorers import ByVectors
from nestvec.auditing.types import Encoded, Triplets
from nestvec.errors import InputError
from nestvec.statistics import mcnemar

law = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)


def hard_negatives(full, variant, triplets, rng):
    return hard.hard_negatives(ByVectors(full), ByVectors(variant), triplets, rng)


def excess_fragility(full, variant, triplets, rng):
    sides = ByVectors(full), ByVectors(variant)
    return hard.excess_fragility(*sides, triplets, len(full.documents), rng)


def whole(rng, q=6, n=8, dim=3):
    """Small integers: scores are exact and ties are many."""
    return Encoded(
        rng.integers(-2, 3, (q, dim)).astype(np.float32),
        rng.integers(-2, 3, (n, dim)).astype(np.float32),
    )


def some_triplets(rng, t=20, q=6, n=8):
    columns = rng.integers(0, [q, n, n], (t, 3))
    kinds = tuple(rng.choice(["negation", "number"], t))
    return Triplets(columns[:, 0], columns[:, 1], columns[:, 2], kinds)


def near_misses(rng, queries=120, head=8, tail=4):
    """Positives equal their queries; one negative differs in the tail alone, one in the head."""
    asked = rng.standard_normal((queries, head + tail)).astype(np.float32)
    negation, entity = asked.copy(), asked.copy()
    negation[:, head:] *= -1
    entity[:, :head] = rng.standard_normal((queries, head))
    full = Encoded(asked, np.concatenate([asked, negation, entity]))
    rows = np.arange(queries)
    triplets = Triplets(
        np.tile(rows, 2),
        np.tile(rows, 2),
        np.concatenate([queries + rows, 2 * queries + rows]),
        ("negation",) * queries + ("entity",) * queries,
    )
    return full, triplets


def cut(encoded, dims):
    return Encoded(encoded.queries[:, :dims].copy(), encoded.documents[:, :dims].copy())


def slow_scores(encoded, triplets):
    for q, p, m in zip(triplets.queries, triplets.positives, triplets.negatives, strict=True):
        yield (
            (q, p),
            float(encoded.queries[q] @ encoded.documents[p]),
            float(encoded.queries[q] @ encoded.documents[m]),
        )


def slow_accuracy(encoded, triplets):
    """The mean over queries of the share of their triplets that are right."""
    shares = {}
    for (q, _), positive, negative in slow_scores(encoded, triplets):
        share = 1.0 if positive > negative else 0.5 if positive == negative else 0.0
        shares.setdefault(q, []).append(share)
    return np.mean([np.mean(of) for of in shares.values()])


def slow_groups(encoded, triplets):
    right = {}
    for group, positive, negative in slow_scores(encoded, triplets):
        right[group] = right.get(group, True) and positive > negative
    return right


@law
@given(seeds)
def test_accuracies_and_flips_equal_their_slow_twins(seed):
    rng = np.random.default_rng(seed)
    full, variant, triplets = whole(rng), whole(rng), some_triplets(rng)
    found = hard_negatives(full, variant, triplets, rng)
    flips = found.details["hard_negatives"]["flips"]
    before, after = slow_groups(full, triplets), slow_groups(variant, triplets)
    lost = sum(before[group] and not after[group] for group in before)
    won = sum(after[group] and not before[group] for group in before)
    assert found.metrics["triplet_accuracy"].value == pytest.approx(
        slow_accuracy(variant, triplets)
    )
    assert (flips["lost"], flips["won"]) == (lost, won)
    assert flips["p"] == mcnemar(lost, won)
    assert flips["both_right"] + flips["lost"] == sum(before.values())
    assert sum(flips[cell] for cell in ("both_right", "lost", "won", "both_wrong")) == len(before)


@law
@given(seeds)
def test_a_variant_that_is_the_full_vectors_flips_nothing(seed):
    rng = np.random.default_rng(seed)
    full, triplets = whole(rng), some_triplets(rng)
    found = hard_negatives(full, full, triplets, rng)
    assert found.metrics["net_flips"].value == 0
    assert found.details["hard_negatives"]["flips"]["lost"] == 0
    assert found.details["hard_negatives"]["kinds_lost"] == []
    for name in ("triplet_accuracy", "group_accuracy"):
        assert found.metrics[name].value == found.details["hard_negatives"]["full"][name]["value"]
    assert found.metrics.get("triplet_retention", (1.0,))[0] == 1


def test_the_kind_of_edit_that_a_variant_cannot_see_is_named(rng):
    full, triplets = near_misses(rng)
    found = hard_negatives(full, cut(full, 8), triplets, rng)
    assert found.details["hard_negatives"]["kinds_lost"] == ["negation"]
    assert found.metrics["triplet_accuracy:negation"].value == 0.5
    assert found.metrics["group_accuracy:negation"].value == 0
    assert found.metrics["net_flips:negation"].value == 1
    assert found.metrics["triplet_accuracy:entity"].value > 0.95


def test_a_variant_that_breaks_near_misses_alone_is_called_fragile(rng):
    full, triplets = near_misses(rng)
    excess = excess_fragility(full, cut(full, 8), triplets, rng).metrics["excess_fragility"]
    assert excess.value < 0.85
    assert excess.high < 1


def test_the_full_vectors_are_not_fragile(rng):
    full, triplets = near_misses(rng)
    metrics = excess_fragility(full, full, triplets, rng).metrics
    assert all(estimate[:3] == (1, 1, 1) for estimate in metrics.values())


def test_a_tie_is_half_a_triplet_a_lost_group_and_a_place_lost():
    encoded = Encoded(np.ones((1, 2), np.float32), np.ones((3, 2), np.float32))
    triplets = Triplets(np.array([0, 0]), np.array([0, 0]), np.array([1, 2]), ("copy", "copy"))
    found = hard_negatives(encoded, encoded, triplets, np.random.default_rng(0)).metrics
    assert found["triplet_accuracy"].value == 0.5
    assert found["group_accuracy"].value == 0
    assert found["rank_in_set"].value == 3


def test_rounding_does_not_break_a_tie(rng):
    # The same terms in another order: their float32 sums differ in the last bits.
    query = np.full((1, 64), 1 / 8, np.float32)
    document = rng.standard_normal(64).astype(np.float32)
    encoded = Encoded(query, np.stack([document, rng.permutation(document)]))
    triplets = Triplets(np.array([0]), np.array([0]), np.array([1]), ("copy",))
    assert triplet_margins(encoded, triplets).tolist() == [0.0]


def test_margins_do_not_depend_on_the_scale_of_scores(rng):
    full, triplets = near_misses(rng)
    larger = Encoded(full.queries, 4 * full.documents)
    one = hard_negatives(full, full, triplets, np.random.default_rng(0)).metrics
    other = hard_negatives(full, larger, triplets, np.random.default_rng(0)).metrics
    for name in ("margin_p5", "margin_p25", "margin_p50"):
        assert one[name] == pytest.approx(other[name])


def test_margin_quantiles_have_the_interval_of_scipy(rng):
    full, triplets = near_misses(rng)
    one_kind = Triplets(*(getattr(triplets, side)[:120] for side in (
        "queries", "positives", "negatives")), triplets.kinds[:120])  # fmt: skip
    found = hard_negatives(full, full, one_kind, rng).metrics
    for share in (0.05, 0.25, 0.5):
        low, high = quantile_test(triplet_margins(full, one_kind), p=share).confidence_interval()
        estimate = found[f"margin_p{round(100 * share)}"]
        assert estimate.low / estimate.high == pytest.approx(low / high)


def test_a_quantile_that_too_few_groups_can_bound_is_left_out(rng):
    full, triplets = near_misses(rng, queries=30)
    found = hard_negatives(full, full, triplets, rng).metrics
    assert "margin_p5" not in found
    assert "margin_p50" in found


@law
@given(seeds)
def test_easy_negatives_are_never_an_answer_to_their_query(seed):
    rng = np.random.default_rng(seed)
    triplets = some_triplets(rng, t=15, q=4, n=16)
    easy = easy_triplets(triplets, 16, rng)
    answers = set(zip(triplets.queries, triplets.positives, strict=True))
    assert answers.isdisjoint(zip(easy.queries, easy.negatives, strict=True))
    assert set(easy.kinds) == {"random"}


def test_a_query_that_every_document_answers_has_no_easy_negative(rng):
    triplets = Triplets(np.array([0, 0]), np.array([0, 1]), np.array([1, 0]), ("a", "a"))
    with pytest.raises(InputError, match="positive of one query"):
        easy_triplets(triplets, 2, rng)


def test_no_triplets_are_refused(rng):
    nothing = np.empty(0, np.int64)
    with pytest.raises(InputError, match="at least one"):
        hard_negatives(whole(rng), whole(rng), Triplets(nothing, nothing, nothing, ()), rng)
