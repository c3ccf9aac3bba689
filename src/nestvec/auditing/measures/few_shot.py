"""Few-shot classification: are classes still told apart by a handful of examples?"""

import numpy as np

from nestvec.auditing.measures.paired import Paired, known, retention, slice_interaction
from nestvec.auditing.types import Findings
from nestvec.errors import InputError
from nestvec.shapes import Float32, Float64, Int64
from nestvec.statistics import bootstrap_mean

WAYS = 5
SHOTS = 5
ASKED = 15
"""Vectors to be classified per class and episode."""
EPISODES = 600


def few_shot(
    full: Float32[np.ndarray, "n dim"],
    variant: Float32[np.ndarray, "n dims"],
    labels: Int64[np.ndarray, " n"],
    clean: Paired,
    rng: np.random.Generator,
    shots: int = SHOTS,
    episodes: int = EPISODES,
) -> Findings:
    """Accuracy of the nearest class mean over random episodes (Snell et al., 2017).

    An episode draws `WAYS` classes (all, where there are fewer) and of each `shots` examples and
    `ASKED` others to be classified; both encodings see the same. Metrics: `few_shot_accuracy` of
    the variant, `few_shot_difference`, variant − full, `few_shot_retention`, variant / full, and
    `few_shot_interaction`, that over what is retained of the `clean` values of queries: below 1
    classes suffer more than answers. An episode is the unit of the intervals, so they say nothing
    of classes or vectors that are not here. Details, as "few_shot": the full vectors' accuracy,
    chance, and the settings. Classes with fewer than `shots + ASKED` vectors are left out;
    `InputError` where fewer than two are left.
    """
    members = members_of(labels, shots + ASKED)
    ways = min(WAYS, len(members))
    accuracy = Paired(np.empty(episodes), np.empty(episodes))
    for episode in range(episodes):
        drawn = _draw(members, ways, shots + ASKED, rng)
        for vectors, found in zip((full, variant), accuracy, strict=True):
            found[episode] = _accuracy(vectors[drawn].astype(np.float64), shots)
    metrics = {
        "few_shot_accuracy": bootstrap_mean(accuracy.variant, rng),
        "few_shot_difference": bootstrap_mean(accuracy.variant - accuracy.full, rng),
    } | known(
        {
            "few_shot_retention": retention(accuracy, rng),
            "few_shot_interaction": slice_interaction(clean, accuracy, rng),
        }
    )
    of_full = bootstrap_mean(accuracy.full, rng)._asdict()
    settings = {"ways": ways, "shots": shots, "classes": len(members)}
    return Findings(metrics, {"few_shot": {"full": of_full, "chance": 1 / ways} | settings})


def members_of(
    labels: Int64[np.ndarray, " n"], least: int = SHOTS + ASKED
) -> list[Int64[np.ndarray, " _"]]:
    """The rows of each class that has at least so many; `InputError` for fewer than two classes."""
    classes, counts = np.unique(labels, return_counts=True)
    members = [np.flatnonzero(labels == label) for label in classes[counts >= least]]
    if len(members) < 2:
        raise InputError(
            f"{len(members)} classes have at least {least} documents, and it takes two; "
            "give coarser labels, or leave them out"
        )
    return members


def _draw(
    members: list[Int64[np.ndarray, " _"]], ways: int, each: int, rng: np.random.Generator
) -> Int64[np.ndarray, "ways each"]:
    chosen = rng.choice(len(members), ways, replace=False)
    return np.stack([rng.choice(members[way], each, replace=False) for way in chosen])


def _accuracy(drawn: Float64[np.ndarray, "ways each dim"], shots: int) -> float:
    """The share of what follows the `shots` that is nearest to the mean of its own class."""
    means = drawn[:, :shots].mean(axis=1)
    # |x − μ|² but for |x|², which is the same for every class.
    distances = (means**2).sum(axis=1) - 2 * drawn[:, shots:] @ means.T
    return float((distances.argmin(axis=2) == np.arange(len(means))[:, None]).mean())
