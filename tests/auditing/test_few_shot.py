"""Few-shot classification: separate classes are recognised, and a variant that mixes them fails."""

import numpy as np
import pytest

from nestvec.auditing.measures.few_shot import few_shot
from nestvec.auditing.measures.paired import Paired
from nestvec.errors import InputError

LABELS = np.repeat(np.arange(8), 30)
PRIMARY = Paired(np.ones(50), np.ones(50))


def classes(rng, distance=6.0, dim=8):
    centres = distance * np.eye(8, dim)
    return (centres[LABELS] + rng.standard_normal((len(LABELS), dim))).astype(np.float32)


def test_the_same_vectors_make_no_difference(rng):
    vectors = classes(rng)
    result = few_shot(vectors, vectors, LABELS, PRIMARY, rng, episodes=50)
    assert result.metrics["few_shot_difference"][:3] == (0, 0, 0)


def test_classes_far_apart_are_always_recognised(rng):
    vectors = classes(rng, distance=100)
    result = few_shot(vectors, vectors, LABELS, PRIMARY, rng, episodes=50)
    assert result.metrics["few_shot_accuracy"].value == 1


def test_a_variant_without_the_classes_falls_to_chance(rng):
    full = classes(rng)
    noise = rng.standard_normal(full.shape).astype(np.float32)
    result = few_shot(full, noise, LABELS, PRIMARY, rng)
    expected = result.details["few_shot"]["chance"]
    assert result.metrics["few_shot_accuracy"].value == pytest.approx(expected, abs=0.02)
    assert result.metrics["few_shot_difference"].high < -0.5


def test_more_shots_help(rng):
    vectors = classes(rng, distance=2.0)
    one_shot, five_shots = (
        few_shot(vectors, vectors, LABELS, PRIMARY, rng, shots=shots, episodes=200).metrics
        for shots in (1, 5)
    )
    assert one_shot["few_shot_accuracy"].high < five_shots["few_shot_accuracy"].low


def test_too_few_classes_are_refused(rng):
    vectors = classes(rng)
    with pytest.raises(InputError, match="coarser labels"):
        few_shot(vectors, vectors, LABELS, PRIMARY, rng, shots=20)
