"""Cascades: classifiers of rising dims, of which the first that is confident enough answers."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nestvec.adapt import Rotation
from nestvec.classify.files import CASCADE, pack, unpack
from nestvec.classify.linear import CLASSIFIER_FITS, LinearClassifier, prefix
from nestvec.classify.thresholds import (
    NEVER,
    THRESHOLD_SEARCHES,
    AccuracyGuarantee,
    PrefixPredictions,
    guaranteed_thresholds,
)
from nestvec.deprecation import renamed_arguments, renamed_fields, warn_renamed
from nestvec.errors import DataError, DimsError, InputError, VectorsError
from nestvec.keywords import check_seed
from nestvec.shapes import Float32, Float64, Int64
from nestvec.transforms.files import read_file, write_file
from nestvec.vectors import as_float32, check_dims

ROTATIONS = ("pca", "none")
Label = str | int
Labels = Sequence[Any] | np.ndarray
"""Texts or whole numbers, one per row."""


class Predictions(NamedTuple):
    """The label of each row, its probability, and the widest prefix that was read for it."""

    labels: np.ndarray
    probability: Float64[np.ndarray, " n"]
    dims_read: Int64[np.ndarray, " n"]

    @property
    def sure(self) -> Float64[np.ndarray, " n"]:
        """Deprecated name of `probability`."""
        warn_renamed("Predictions.sure", "Predictions.probability")
        return self.probability

    @property
    def dims(self) -> Int64[np.ndarray, " n"]:
        """Deprecated name of `dims_read`."""
        warn_renamed("Predictions.dims", "Predictions.dims_read")
        return self.dims_read


@renamed_fields({"sizes": "classifiers", "counts": "class_counts", "certificate": "guarantee"})
@dataclass(frozen=True, slots=True, eq=False)
class Cascade:
    """Classifiers of rising dims, with the exit thresholds of all but the last.

    A classifier answers the rows whose probability reaches its threshold; wider ones are not read
    for them. `labels` are the classes, in the order of logits, and `class_counts` the rows of each
    that the classifiers were fitted on. `guarantee` is about rows to come, if there is one. `model`
    records the encoder of the vectors, so that texts can be classified.
    """

    classifiers: tuple[LinearClassifier, ...]
    thresholds: tuple[float, ...]
    labels: tuple[Label, ...]
    class_counts: tuple[int, ...]
    guarantee: AccuracyGuarantee | None = None
    rotation: Rotation | None = None
    """Applied first: prefixes are then those of the rotated vectors, as an index stores them."""
    model: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        dims = list(self.dims)
        if not dims or dims != sorted(set(dims)):
            raise DimsError(
                f"classifiers of {dims} dims do not rise; pass one per width, the narrowest first"
            )
        if len(self.thresholds) != len(dims) - 1:
            raise InputError(
                f"{len(self.thresholds)} thresholds do not fit {len(dims)} classifiers; pass "
                "one for each classifier but the last"
            )
        n_classes = {len(classifier.bias) for classifier in self.classifiers}
        n_classes |= {len(self.labels), len(self.class_counts)}
        if len(n_classes) != 1:
            raise InputError(
                f"classifiers, labels and class_counts are of {sorted(n_classes)} classes; pass "
                "all for the same classes"
            )
        if len(set(self.labels)) < len(self.labels):
            raise InputError("a label names two classes; give each class a label of its own")
        if not all(threshold >= 0 for threshold in self.thresholds):
            raise InputError(f"thresholds {self.thresholds} are out of range; use 0 or more")

    @classmethod
    @renamed_arguments({"chain": "threshold_search"})
    def fit(  # noqa: PLR0913  one call says all about a cascade
        cls,
        vectors: ArrayLike,
        labels: Labels,
        dims: Sequence[int] | None = None,
        *,
        classifier: str = "softmax",
        rotation: str = "pca",
        threshold_search: str = "backward",
        alpha: float | None = None,
        confidence: float = 0.95,
        held_out: float = 0.3,
        seed: int = 0,
    ) -> "Cascade":
        """Fit classifiers to frozen `vectors` [n, dim], and thresholds to rows held out from them.

        `dims` are the widths of prefixes, in any order (None: halvings of the full width down to
        8); the largest stands for full width. `classifier` is "softmax" or "nearest-mean".
        `rotation="pca"` puts the strongest directions first, as in an index; "none" keeps the order
        of a nested model. A share `held_out` of each class, drawn with `seed`, is not fitted on;
        classes of one row are not held out, so no guarantee covers them. `from_classifiers`
        explains the options of thresholds.
        """
        _check_options(threshold_search, alpha, confidence, seed)
        if classifier not in CLASSIFIER_FITS:
            raise InputError(
                f"classifier={classifier!r} is unknown; use one of {', '.join(CLASSIFIER_FITS)}"
            )
        if rotation not in ROTATIONS:
            raise InputError(f"rotation={rotation!r} is unknown; use {' or '.join(ROTATIONS)}")
        rows = as_float32(vectors)
        widths = _widths(dims, rows.shape[1])
        names, class_ids = _classes(labels, len(rows))
        train, held_out_rows = _split(class_ids, held_out, np.random.default_rng(seed))
        counts = np.bincount(class_ids[train], minlength=len(names))
        pca = Rotation.fit(rows[train]) if rotation == "pca" else None
        rows = rows if pca is None else pca.transform(rows)
        classifiers = [
            CLASSIFIER_FITS[classifier](
                prefix(rows[train], width, True), class_ids[train], len(names)
            )
            for width in widths
        ]
        cascade = cls.from_classifiers(
            classifiers, names, rows[held_out_rows], [names[i] for i in class_ids[held_out_rows]],
            class_counts=counts.tolist(), threshold_search=threshold_search, alpha=alpha,
            confidence=confidence, seed=seed,
        )  # fmt: skip
        return replace(cascade, rotation=pca)

    @classmethod
    @renamed_arguments({"chain": "threshold_search"})
    def from_classifiers(  # noqa: PLR0913  one call says all about its thresholds
        cls,
        classifiers: Sequence[LinearClassifier],
        class_labels: Sequence[Label],
        vectors: ArrayLike,
        labels: Labels,
        *,
        class_counts: Sequence[int] | None = None,
        threshold_search: str = "backward",
        alpha: float | None = None,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> "Cascade":
        """Build a cascade of fitted classifiers, with thresholds from held-out rows.

        A trained head's classifiers are an example.

        `class_labels` are the labels of the classes, `labels` those of the rows `vectors` [n, dim].
        Each classifier is calibrated by a temperature. Without `alpha` there is no guarantee, and
        `threshold_search` chooses the thresholds: "backward", or "pairwise" as in MRL-AC, which
        sees no further than the next classifier. With `alpha`, which takes no `threshold_search`,
        accuracy is within `alpha` of full width's with `confidence`: half of the rows calibrate,
        and one threshold for all classifiers is tested on the others.
        """
        _check_options(threshold_search, alpha, confidence, seed)
        rows = as_float32(vectors)
        _check_width(rows, max((classifier.dims for classifier in classifiers), default=0))
        class_ids = _class_ids(labels, class_labels, len(rows))
        calibrating, testing = _halves(len(rows), alpha is not None, np.random.default_rng(seed))
        calibrated = tuple(
            classifier.calibrated(rows[calibrating], class_ids[calibrating])
            for classifier in sorted(classifiers, key=lambda classifier: classifier.dims)
        )
        counts = (0,) * len(class_labels) if class_counts is None else tuple(class_counts)
        never = (NEVER,) * (len(calibrated) - 1)
        cascade = cls(calibrated, never, tuple(class_labels), counts)
        if alpha is None:
            choose = THRESHOLD_SEARCHES[threshold_search]
            thresholds = choose(cascade.predict_prefixes(rows, labels))
            return replace(cascade, thresholds=thresholds)
        predictions = cascade.predict_prefixes(
            rows[testing], [class_labels[i] for i in class_ids[testing]]
        )
        thresholds, guarantee = guaranteed_thresholds(predictions, alpha, confidence)
        return replace(cascade, thresholds=thresholds, guarantee=guarantee)

    @classmethod
    @renamed_arguments({"sizes": "classifiers", "counts": "class_counts"})
    def of(
        cls,
        classifiers: Sequence[LinearClassifier],
        labels: Sequence[Label],
        vectors: ArrayLike,
        answers: Labels,
        **options: Any,
    ) -> "Cascade":
        """Deprecated name of `from_classifiers`."""
        warn_renamed("Cascade.of", "Cascade.from_classifiers")
        return cls.from_classifiers(classifiers, labels, vectors, answers, **options)

    @property
    def dims(self) -> tuple[int, ...]:
        """The widths of the prefixes, narrowest first."""
        return tuple(classifier.dims for classifier in self.classifiers)

    @property
    def is_read(self) -> tuple[bool, ...]:
        """True for each classifier but those whose threshold no probability reaches."""
        return (*(threshold <= 1 for threshold in self.thresholds), True)

    @property
    def read(self) -> tuple[bool, ...]:
        """Deprecated name of `is_read`."""
        warn_renamed("Cascade.read", "Cascade.is_read")
        return self.is_read

    def predict(self, vectors: ArrayLike) -> Predictions:
        """Predict the label of each row [n, dim], reading no prefix beyond the one that answers."""
        rows = self._rotated(vectors)
        class_ids, probability = np.zeros(len(rows), np.int64), np.zeros(len(rows))
        dims_read, pending = np.zeros(len(rows), np.int64), np.arange(len(rows))
        thresholds = (*self.thresholds, 0.0)
        for classifier, threshold, is_read in zip(
            self.classifiers, thresholds, self.is_read, strict=True
        ):
            if not is_read:
                continue
            probabilities = classifier.probabilities(rows[pending])
            # As thresholds were chosen: in float32, .9 is a little less.
            highest = probabilities.max(axis=1).astype(np.float64)
            exits = highest >= threshold
            exit_rows = pending[exits]
            class_ids[exit_rows] = probabilities[exits].argmax(axis=1)
            probability[exit_rows], dims_read[exit_rows] = highest[exits], classifier.dims
            pending = pending[~exits]
        return Predictions(np.asarray(self.labels)[class_ids], probability, dims_read)

    def predict_prefixes(self, vectors: ArrayLike, labels: Labels) -> PrefixPredictions:
        """Predict rows [n, dim] by every classifier, and compare with their `labels` [n].

        A label that is none of the cascade's is never predicted.
        """
        rows = self._rotated(vectors)
        places = {label: place for place, label in enumerate(self.labels)}
        class_ids = np.array(
            [places.get(label, -1) for label in _plain_labels(labels, len(rows))], np.int64
        )
        probabilities = [classifier.probabilities(rows) for classifier in self.classifiers]
        return PrefixPredictions(
            np.stack([p.max(axis=1) for p in probabilities]).astype(np.float64),
            np.stack([p.argmax(axis=1) == class_ids for p in probabilities]),
        )

    def answers(self, vectors: ArrayLike, labels: Labels) -> PrefixPredictions:
        """Deprecated name of `predict_prefixes`."""
        warn_renamed("Cascade.answers", "Cascade.predict_prefixes")
        return self.predict_prefixes(vectors, labels)

    def _rotated(self, vectors: ArrayLike) -> Float32[np.ndarray, "n dim"]:
        """Check the rows, and rotate them where the cascade has a rotation."""
        rows = as_float32(vectors)
        _check_width(rows, self.dims[-1])
        return rows if self.rotation is None else self.rotation.transform(rows, self.dims[-1])

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file with a JSON header and a checksum, in one step."""
        arrays, header = pack({field.name: getattr(self, field.name) for field in fields(self)})
        write_file(Path(path), arrays, header, CASCADE)

    @classmethod
    def load(cls, path: str | Path) -> "Cascade":
        """Read the file of a cascade; `DataError` for any other file, and for a damaged one."""
        arrays, header = read_file(Path(path), CASCADE)
        try:
            return cls(**unpack(arrays, header))
        except (KeyError, ValueError, TypeError, AttributeError) as e:
            raise DataError(f"'{path}' holds no usable cascade ({e}); fit and save it again") from e


def _check_options(
    threshold_search: str, alpha: float | None, confidence: float, seed: int
) -> None:
    if threshold_search not in THRESHOLD_SEARCHES:
        raise InputError(
            f"threshold_search={threshold_search!r} is unknown; use one of "
            f"{', '.join(THRESHOLD_SEARCHES)}"
        )
    if alpha is not None and threshold_search != "backward":
        raise InputError(
            f"threshold_search={threshold_search!r} has no effect where alpha is set; leave one of "
            "them out"
        )
    if not (alpha is None or 0 < alpha < 1) or not 0.5 < confidence < 1:
        raise InputError(
            f"alpha={alpha} at confidence={confidence} cannot be shown by a sample; "
            "use alpha between 0 and 1 and confidence between 0.5 and 1"
        )
    check_seed(seed)


def _widths(dims: Sequence[int] | None, width: int) -> list[int]:
    if dims is None:
        halvings = {width >> times for times in range(1, 16)}
        return sorted({width} | {size for size in halvings if size >= 8})
    widths = sorted(check_dims(size, width) for size in dims)
    if not widths or len(set(widths)) < len(widths):
        raise DimsError(f"dims={list(dims)} are no set of widths; pass each once, and at least one")
    return widths


def _plain_labels(labels: Labels, n: int) -> list[Label]:
    """List labels as plain texts or whole numbers, one per row."""
    # NumPy's scalars differ from plain ones by type, and JSON cannot hold them.
    values = labels.tolist() if isinstance(labels, np.ndarray) else labels
    listed: list[Any] = [v.item() if isinstance(v, np.generic) else v for v in values]
    if len(listed) != n:
        raise InputError(f"{len(listed)} labels for {n} vectors; pass one per row")
    if not all(isinstance(label, str | int) for label in listed):
        raise InputError("labels are of another type; use texts or whole numbers")
    return listed


def _classes(labels: Labels, n: int) -> tuple[list[Label], Int64[np.ndarray, " n"]]:
    """Sort the distinct labels; also return the class id of each row."""
    listed = _plain_labels(labels, n)
    if len({type(label) for label in listed}) > 1:
        raise InputError("labels are of several types; use texts or whole numbers throughout")
    names: list[Any] = sorted(set(listed))
    if len(names) < 2:
        raise InputError(f"{len(names)} label(s) leave nothing to classify; use two or more")
    return names, _class_ids(listed, names, n)


def _class_ids(labels: Labels, names: Sequence[Label], n: int) -> Int64[np.ndarray, " n"]:
    places = {label: place for place, label in enumerate(names)}
    try:
        return np.array([places[label] for label in _plain_labels(labels, n)], dtype=np.int64)
    except KeyError as e:
        raise InputError(
            f"label {e.args[0]!r} is none of the {len(names)} classes; leave such rows out"
        ) from None


def _split(
    class_ids: Int64[np.ndarray, " n"], held_out: float, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " held_out"]]:
    """Split rows into a training set and held-out ones; each class keeps a training row."""
    if not 0 < held_out < 1:
        raise InputError(f"held_out={held_out} is out of range; use more than 0 and less than 1")
    is_held_out = np.zeros(len(class_ids), dtype=bool)
    for number in range(int(class_ids.max()) + 1):
        rows = rng.permutation(np.flatnonzero(class_ids == number))
        is_held_out[rows[: min(len(rows) - 1, round(held_out * len(rows)))]] = True
    if not is_held_out.any():
        raise InputError(f"no class has rows to spare for held_out={held_out}; pass more rows")
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def _halves(
    n: int, with_guarantee: bool, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " calibrating"], Int64[np.ndarray, " testing"]]:
    """Split rows into those that calibrate and those that test; none test without a guarantee."""
    if n < 2:
        raise InputError(f"{n} rows are held out, too few for thresholds; use hundreds")
    order = rng.permutation(n)
    return (order[: n // 2], order[n // 2 :]) if with_guarantee else (order, order[:0])


def _check_width(rows: Float32[np.ndarray, "n dim"], width: int) -> None:
    if rows.shape[1] < width:
        raise VectorsError(
            f"vectors have {rows.shape[1]} dimensions, the cascade reads up to {width}; "
            "embed them with the model that it was fitted for"
        )
