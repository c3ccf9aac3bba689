"""Few shots: how many dimensions does the nearest class mean need, of how many examples?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nestvec.classify.cascade import Labels
from nestvec.classify.linear import nearest_mean, prefix
from nestvec.errors import InputError
from nestvec.shapes import Float32, Int64
from nestvec.statistics import Estimate, bootstrap_mean
from nestvec.vectors import as_float32, check_dims


class Shots(NamedTuple):
    """Accuracy of `shots` examples per class at one size; the unit is a drawing of examples."""

    shots: int
    dims: int
    accuracy: Estimate


def few_shots(
    learning: tuple[ArrayLike, Labels],
    asked: tuple[ArrayLike, Labels],
    dims: Sequence[int],
    shots: Sequence[int] = (1, 2, 5, 10),
    *,
    drawings: int = 20,
    seed: int = 0,
) -> list[Shots]:
    """The nearest class mean of few examples, all classes at once, on every row of `asked`.

    Both are (vectors, labels). Each drawing takes as many rows per class from `learning` for all
    sizes alike; classes with fewer rows than that are an `InputError`, as are labels of `asked`
    that are not learnt.
    """
    rows, of_rows = _labelled(learning, "learning", None)
    rest, wanted = _labelled(asked, "asked", rows.shape[1])
    names, answers = np.unique(of_rows, return_inverse=True)
    if drawings < 1 or seed < 0:
        raise InputError(f"drawings={drawings}, seed={seed}; use 1 or more, and 0 or more")
    if not np.isin(wanted, names).all():
        raise InputError("there are labels to be found that are not learnt; leave such rows out")
    sizes = [check_dims(size, rows.shape[1]) for size in dims]
    rng = np.random.default_rng(seed)
    right = np.searchsorted(names, wanted)
    members = [np.flatnonzero(answers == number) for number in range(len(names))]
    table = []
    for count in shots:
        drawn = [_draw(members, count, rng) for _ in range(drawings)]
        for size in sizes:
            few, many = prefix(rows, size, True), prefix(rest, size, True)
            found = [_accuracy(few, answers, of, many, right) for of in drawn]
            table.append(Shots(count, size, bootstrap_mean(np.array(found), rng)))
    return table


def _labelled(
    given: tuple[ArrayLike, Labels], name: str, width: int | None
) -> tuple[Float32[np.ndarray, "n dim"], np.ndarray]:
    """Vectors, of this width if there is one, and a label for each."""
    rows, labels = as_float32(given[0], name, width), np.asarray(given[1])
    if labels.shape != (len(rows),):
        raise InputError(f"{name} has {len(rows)} vectors and labels of shape {labels.shape}")
    return rows, labels


def _draw(
    members: list[np.ndarray], count: int, rng: np.random.Generator
) -> Int64[np.ndarray, " rows"]:
    fewest = min(map(len, members))
    if not 1 <= count <= fewest:
        raise InputError(f"shots={count}, but a class has {fewest} rows; use 1 <= shots <= that")
    return np.concatenate([rng.choice(rows, count, replace=False) for rows in members])


def _accuracy(
    few: Float32[np.ndarray, "n dims"],
    answers: Int64[np.ndarray, " n"],
    drawn: Int64[np.ndarray, " drawn"],
    many: Float32[np.ndarray, "q dims"],
    right: Int64[np.ndarray, " q"],
) -> float:
    mean = nearest_mean(few[drawn], answers[drawn], int(answers.max()) + 1)
    return float((mean.logits(many).argmax(axis=1) == right).mean())
