"""Few-shot accuracy: the nearest class mean of a few examples, by dims and number of examples."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nestvec.classify.cascade import Labels
from nestvec.classify.linear import nearest_mean, prefix
from nestvec.deprecation import renamed_attributes
from nestvec.errors import InputError
from nestvec.shapes import Float32, Int64
from nestvec.statistics import Estimate, bootstrap_mean
from nestvec.vectors import as_float32, check_dims


class FewShotAccuracy(NamedTuple):
    """Accuracy with `shots` examples per class at `dims`; the unit is a drawing of examples."""

    shots: int
    dims: int
    accuracy: Estimate


def few_shot_accuracy(
    train: tuple[ArrayLike, Labels],
    test: tuple[ArrayLike, Labels],
    dims: Sequence[int],
    shots: Sequence[int] = (1, 2, 5, 10),
    *,
    drawings: int = 20,
    seed: int = 0,
) -> list[FewShotAccuracy]:
    """Measure the nearest class mean of few examples, all classes at once, on every test row.

    `train` and `test` are (vectors [n, dim], labels [n]). Each drawing takes `shots` rows per class
    from `train`, the same for all `dims`. `InputError` for classes with fewer rows than that, and
    for test labels that `train` lacks.
    """
    train_rows, train_labels = _labelled(train, "train", None)
    test_rows, test_labels = _labelled(test, "test", train_rows.shape[1])
    classes, class_ids = np.unique(train_labels, return_inverse=True)
    if drawings < 1 or seed < 0:
        raise InputError(f"drawings={drawings}, seed={seed}; use 1 or more, and 0 or more")
    if not np.isin(test_labels, classes).all():
        raise InputError("test has labels that train lacks; leave such rows out")
    checked_dims = [check_dims(size, train_rows.shape[1]) for size in dims]
    rng = np.random.default_rng(seed)
    targets = np.searchsorted(classes, test_labels)
    class_rows = [np.flatnonzero(class_ids == number) for number in range(len(classes))]
    table = []
    for count in shots:
        samples = [_draw(class_rows, count, rng) for _ in range(drawings)]
        for size in checked_dims:
            examples, queries = prefix(train_rows, size, True), prefix(test_rows, size, True)
            accuracies = [
                _accuracy(examples[rows], class_ids[rows], queries, targets) for rows in samples
            ]
            estimate = bootstrap_mean(np.array(accuracies), rng)
            table.append(FewShotAccuracy(count, size, estimate))
    return table


def _labelled(
    pair: tuple[ArrayLike, Labels], name: str, width: int | None
) -> tuple[Float32[np.ndarray, "n dim"], np.ndarray]:
    """Check vectors, of this width if there is one, and a label for each."""
    rows, labels = as_float32(pair[0], name, width), np.asarray(pair[1])
    if labels.shape != (len(rows),):
        raise InputError(
            f"{name} has {len(rows)} vectors and labels of shape {labels.shape}; pass one per row"
        )
    return rows, labels


def _draw(
    class_rows: list[np.ndarray], count: int, rng: np.random.Generator
) -> Int64[np.ndarray, " rows"]:
    smallest = min(map(len, class_rows))
    if not 1 <= count <= smallest:
        raise InputError(f"shots={count}, but a class has {smallest} rows; use 1 <= shots <= that")
    return np.concatenate([rng.choice(rows, count, replace=False) for rows in class_rows])


def _accuracy(
    examples: Float32[np.ndarray, "n dims"],
    class_ids: Int64[np.ndarray, " n"],
    queries: Float32[np.ndarray, "q dims"],
    targets: Int64[np.ndarray, " q"],
) -> float:
    classifier = nearest_mean(examples, class_ids, int(class_ids.max()) + 1)
    return float((classifier.logits(queries).argmax(axis=1) == targets).mean())


__getattr__ = renamed_attributes(
    __name__,
    {
        "few_shots": ("few_shot_accuracy", few_shot_accuracy),
        "Shots": ("FewShotAccuracy", FewShotAccuracy),
    },
)
