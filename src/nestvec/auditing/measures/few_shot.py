"""Few-shot classification: does a nearest mean of a few examples still tell classes apart?"""

import numpy as np

from nestvec.auditing.measures.paired import Paired, drop_missing, retention, slice_interaction
from nestvec.auditing.types import CheckResult
from nestvec.errors import InputError
from nestvec.shapes import Float32, Float64, Int64
from nestvec.statistics import bootstrap_mean

WAYS = 5
"""Classes per episode."""
SHOTS = 5
"""Examples per class and episode."""
QUERIES_PER_CLASS = 15
"""Vectors per class and episode that are classified."""
EPISODES = 600
"""The number that few-shot papers use; intervals are about one point of accuracy wide."""


def few_shot(
    full: Float32[np.ndarray, "n dim"],
    variant: Float32[np.ndarray, "n dims"],
    labels: Int64[np.ndarray, " n"],
    primary: Paired,
    rng: np.random.Generator,
    shots: int = SHOTS,
    episodes: int = EPISODES,
) -> CheckResult:
    """Accuracy of the nearest class mean over random episodes (Snell et al., 2017).

    An episode draws `WAYS` classes (all, where there are fewer) and of each `shots` examples and
    `QUERIES_PER_CLASS` others that are classified; both encodings use the same draws. Metrics:
    `few_shot_accuracy` of the variant, `few_shot_difference`, variant − full,
    `few_shot_retention`, variant / full, and `few_shot_interaction`, that over the retention of the
    `primary` metric of queries: below 1 classes suffer more than rankings. An episode is the unit
    of the intervals, so they do not cover other classes or other vectors. Details, as "few_shot":
    the full vectors' accuracy, chance, and the settings. Classes with fewer than
    `shots + QUERIES_PER_CLASS` vectors are left out; `InputError` where fewer than two remain.
    """
    per_class = shots + QUERIES_PER_CLASS
    classes = rows_by_class(labels, per_class)
    ways = min(WAYS, len(classes))
    accuracy = Paired(np.empty(episodes), np.empty(episodes))
    for episode in range(episodes):
        rows = _sample_episode(classes, ways, per_class, rng)
        for vectors, accuracies in zip((full, variant), accuracy, strict=True):
            accuracies[episode] = _accuracy(vectors[rows].astype(np.float64), shots)
    metrics = {
        "few_shot_accuracy": bootstrap_mean(accuracy.variant, rng),
        "few_shot_difference": bootstrap_mean(accuracy.variant - accuracy.full, rng),
    } | drop_missing(
        {
            "few_shot_retention": retention(accuracy, rng),
            "few_shot_interaction": slice_interaction(primary, accuracy, rng),
        }
    )
    full_accuracy = bootstrap_mean(accuracy.full, rng)._asdict()
    settings = {"ways": ways, "shots": shots, "classes": len(classes)}
    return CheckResult(
        metrics, {"few_shot": {"full": full_accuracy, "chance": 1 / ways} | settings}
    )


def rows_by_class(
    labels: Int64[np.ndarray, " n"], min_rows: int = SHOTS + QUERIES_PER_CLASS
) -> list[Int64[np.ndarray, " _"]]:
    """Rows of each class with at least `min_rows`; `InputError` for fewer than two classes."""
    names, counts = np.unique(labels, return_counts=True)
    classes = [np.flatnonzero(labels == name) for name in names[counts >= min_rows]]
    if len(classes) < 2:
        raise InputError(
            f"{len(classes)} classes have at least {min_rows} documents, and few-shot checks take "
            "two; pass coarser labels, or leave them out"
        )
    return classes


def _sample_episode(
    classes: list[Int64[np.ndarray, " _"]], ways: int, per_class: int, rng: np.random.Generator
) -> Int64[np.ndarray, "ways per_class"]:
    sample = rng.choice(len(classes), ways, replace=False)
    return np.stack([rng.choice(classes[way], per_class, replace=False) for way in sample])


def _accuracy(episode: Float64[np.ndarray, "ways per_class dim"], shots: int) -> float:
    """Compute the share of vectors, behind the `shots` examples, nearest to their class mean."""
    means = episode[:, :shots].mean(axis=1)
    # |x − μ|² but for |x|², which is the same for every class.
    distances = (means**2).sum(axis=1) - 2 * episode[:, shots:] @ means.T
    return float((distances.argmin(axis=2) == np.arange(len(means))[:, None]).mean())
