"""Hard negatives: laws of the counts, planted faults, and intervals where they exist."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import quantile_test

from nestvec.auditing.measures import hard_negatives as hard
from nestvec.auditing.measures.hard_negatives import random_triplets
from nestvec.auditing.measures.margins import triplet_margins
from nestvec.auditing.ranking.scorers import VectorScorer
from nestvec.auditing.types import EmbeddingPair, Triplets
from nestvec.errors import InputError
from nestvec.statistics import mcnemar

law = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)


def hard_negatives(full, variant, triplets, rng):
    return hard.hard_negative_metrics(VectorScorer(full), VectorScorer(variant), triplets, rng)


def excess_fragility(full, variant, triplets, rng):
    sides = VectorScorer(full), VectorScorer(variant)
    return hard.excess_fragility(*sides, triplets, len(full.documents), rng)


def small_integers(rng, q=6, n=8, dim=3):
    """Small integers: scores are exact and ties are many."""
    return EmbeddingPair(
        rng.integers(-2, 3, (q, dim)).astype(np.float32),
        rng.integers(-2, 3, (n, dim)).astype(np.float32),
    )


def some_triplets(rng, t=20, q=6, n=8):
    columns = rng.integers(0, [q, n, n], (t, 3))
    kinds = tuple(rng.choice(["negation", "number"], t))
    return Triplets(columns[:, 0], columns[:, 1], columns[:, 2], kinds)


def planted_triplets(rng, queries=120, head=8, tail=4):
    """Positives equal their queries; one negative differs in the tail alone, one in the head."""
    queries_ = rng.standard_normal((queries, head + tail)).astype(np.float32)
    negation, entity = queries_.copy(), queries_.copy()
    negation[:, head:] *= -1
    entity[:, :head] = rng.standard_normal((queries, head))
    full = EmbeddingPair(queries_, np.concatenate([queries_, negation, entity]))
    rows = np.arange(queries)
    triplets = Triplets(
        np.tile(rows, 2),
        np.tile(rows, 2),
        np.concatenate([queries + rows, 2 * queries + rows]),
        ("negation",) * queries + ("entity",) * queries,
    )
    return full, triplets


def first_dims(embeddings, dims):
    return EmbeddingPair(embeddings.queries[:, :dims].copy(), embeddings.documents[:, :dims].copy())


def slow_scores(embeddings, triplets):
    for q, p, m in zip(triplets.queries, triplets.positives, triplets.negatives, strict=True):
        yield (
            (q, p),
            float(embeddings.queries[q] @ embeddings.documents[p]),
            float(embeddings.queries[q] @ embeddings.documents[m]),
        )


def slow_accuracy(embeddings, triplets):
    """The mean over queries of the share of their triplets that are correct."""
    shares = {}
    for (q, _), positive, negative in slow_scores(embeddings, triplets):
        share = 1.0 if positive > negative else 0.5 if positive == negative else 0.0
        shares.setdefault(q, []).append(share)
    return np.mean([np.mean(values) for values in shares.values()])


def slow_groups(embeddings, triplets):
    correct = {}
    for group, positive, negative in slow_scores(embeddings, triplets):
        correct[group] = correct.get(group, True) and positive > negative
    return correct


@law
@given(seeds)
def test_accuracies_and_flips_equal_their_slow_twins(seed):
    rng = np.random.default_rng(seed)
    full, variant, triplets = small_integers(rng), small_integers(rng), some_triplets(rng)
    result = hard_negatives(full, variant, triplets, rng)
    flips = result.details["hard_negatives"]["flips"]
    full_groups, variant_groups = slow_groups(full, triplets), slow_groups(variant, triplets)
    lost = sum(full_groups[group] and not variant_groups[group] for group in full_groups)
    won = sum(variant_groups[group] and not full_groups[group] for group in full_groups)
    assert result.metrics["triplet_accuracy"].value == pytest.approx(
        slow_accuracy(variant, triplets)
    )
    assert (flips["lost"], flips["won"]) == (lost, won)
    assert flips["p"] == mcnemar(lost, won)
    assert flips["both_right"] + flips["lost"] == sum(full_groups.values())
    assert sum(flips[cell] for cell in ("both_right", "lost", "won", "both_wrong")) == len(
        full_groups
    )


@law
@given(seeds)
def test_a_variant_that_is_the_full_vectors_flips_nothing(seed):
    rng = np.random.default_rng(seed)
    full, triplets = small_integers(rng), some_triplets(rng)
    result = hard_negatives(full, full, triplets, rng)
    assert result.metrics["net_flips"].value == 0
    assert result.details["hard_negatives"]["flips"]["lost"] == 0
    assert result.details["hard_negatives"]["kinds_lost"] == []
    for name in ("triplet_accuracy", "group_accuracy"):
        assert result.metrics[name].value == result.details["hard_negatives"]["full"][name]["value"]
    assert result.metrics.get("triplet_retention", (1.0,))[0] == 1


def test_intervals_of_unlabelled_negatives_are_those_of_their_former_name():
    """Kinds draw random numbers in turn, so that another order would change every interval."""
    full, triplets = planted_triplets(np.random.default_rng(0))
    metrics = []
    for kind in ("given", "unlabelled"):
        kinds = ("negation",) * 120 + (kind,) * 120
        renamed = dataclasses.replace(triplets, kinds=kinds)
        rng = np.random.default_rng(1)
        metrics.append(hard_negatives(full, first_dims(full, 8), renamed, rng).metrics)
    assert [*metrics[0].values()] == [*metrics[1].values()]
    assert "net_flips:unlabelled" in metrics[1]


def test_kinds_that_a_variant_cannot_tell_apart_are_listed(rng):
    full, triplets = planted_triplets(rng)
    result = hard_negatives(full, first_dims(full, 8), triplets, rng)
    assert result.details["hard_negatives"]["kinds_lost"] == ["negation"]
    assert result.metrics["triplet_accuracy:negation"].value == 0.5
    assert result.metrics["group_accuracy:negation"].value == 0
    assert result.metrics["net_flips:negation"].value == 1
    assert result.metrics["triplet_accuracy:entity"].value > 0.95


def test_a_variant_that_breaks_hard_negatives_alone_is_fragile(rng):
    full, triplets = planted_triplets(rng)
    excess = excess_fragility(full, first_dims(full, 8), triplets, rng).metrics["excess_fragility"]
    assert excess.value < 0.85
    assert excess.high < 1


def test_the_full_vectors_are_not_fragile(rng):
    full, triplets = planted_triplets(rng)
    metrics = excess_fragility(full, full, triplets, rng).metrics
    assert all(estimate[:3] == (1, 1, 1) for estimate in metrics.values())


def test_a_tie_counts_half_in_triplets_and_as_a_loss_in_groups_and_ranks():
    embeddings = EmbeddingPair(np.ones((1, 2), np.float32), np.ones((3, 2), np.float32))
    triplets = Triplets(np.array([0, 0]), np.array([0, 0]), np.array([1, 2]), ("copy", "copy"))
    result = hard_negatives(embeddings, embeddings, triplets, np.random.default_rng(0)).metrics
    assert result["triplet_accuracy"].value == 0.5
    assert result["group_accuracy"].value == 0
    assert result["rank_in_set"].value == 3


def test_rounding_does_not_break_a_tie(rng):
    # The same terms in another order: their float32 sums differ in the last bits.
    query = np.full((1, 64), 1 / 8, np.float32)
    document = rng.standard_normal(64).astype(np.float32)
    embeddings = EmbeddingPair(query, np.stack([document, rng.permutation(document)]))
    triplets = Triplets(np.array([0]), np.array([0]), np.array([1]), ("copy",))
    assert triplet_margins(embeddings, triplets).tolist() == [0.0]


def test_margins_do_not_depend_on_the_scale_of_scores(rng):
    full, triplets = planted_triplets(rng)
    larger = EmbeddingPair(full.queries, 4 * full.documents)
    one = hard_negatives(full, full, triplets, np.random.default_rng(0)).metrics
    other = hard_negatives(full, larger, triplets, np.random.default_rng(0)).metrics
    for name in ("margin_p5", "margin_p25", "margin_p50"):
        assert one[name] == pytest.approx(other[name])


def test_margin_quantiles_have_the_interval_of_scipy(rng):
    full, triplets = planted_triplets(rng)
    one_kind = Triplets(*(getattr(triplets, side)[:120] for side in (
        "queries", "positives", "negatives")), triplets.kinds[:120])  # fmt: skip
    result = hard_negatives(full, full, one_kind, rng).metrics
    for share in (0.05, 0.25, 0.5):
        low, high = quantile_test(triplet_margins(full, one_kind), p=share).confidence_interval()
        estimate = result[f"margin_p{round(100 * share)}"]
        assert estimate.low / estimate.high == pytest.approx(low / high)


def test_a_quantile_without_a_bound_is_left_out(rng):
    full, triplets = planted_triplets(rng, queries=30)
    result = hard_negatives(full, full, triplets, rng).metrics
    assert "margin_p5" not in result
    assert "margin_p50" in result


@law
@given(seeds)
def test_random_negatives_are_never_positives_of_their_query(seed):
    rng = np.random.default_rng(seed)
    triplets = some_triplets(rng, t=15, q=4, n=16)
    random = random_triplets(triplets, 16, rng)
    positives = set(zip(triplets.queries, triplets.positives, strict=True))
    assert positives.isdisjoint(zip(random.queries, random.negatives, strict=True))
    assert set(random.kinds) == {"random"}


def test_random_negatives_need_a_document_that_is_not_positive(rng):
    triplets = Triplets(np.array([0, 0]), np.array([0, 1]), np.array([1, 0]), ("a", "a"))
    with pytest.raises(InputError, match="positive of one query"):
        random_triplets(triplets, 2, rng)


def test_no_triplets_are_refused(rng):
    empty = np.empty(0, np.int64)
    with pytest.raises(InputError, match="at least one"):
        hard_negatives(
            small_integers(rng), small_integers(rng), Triplets(empty, empty, empty, ()), rng
        )
