"""Sizes that answer in turn: the first that is sure enough has the word."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nestvec.adapt import Rotation
from nestvec.classify.files import CASCADE, pack, unpack
from nestvec.classify.linear import FITS, Linear, prefix
from nestvec.classify.thresholds import CHAINS, NEVER, Answers, Certificate, certified
from nestvec.errors import DataError, DimsError, InputError, VectorsError
from nestvec.shapes import Float32, Float64, Int64
from nestvec.transforms.files import read_file, write_file
from nestvec.vectors import as_float32, check_dims

ROTATIONS = ("pca", "none")
Label = str | int
Labels = Sequence[Any] | np.ndarray
"""Texts or whole numbers, one per row."""


class Predictions(NamedTuple):
    """For each row: its label, how likely that is, and the largest size that was read."""

    labels: np.ndarray
    sure: Float64[np.ndarray, " n"]
    dims: Int64[np.ndarray, " n"]


@dataclass(frozen=True, slots=True, eq=False)
class Cascade:
    """Classifiers of rising sizes, and how sure each must be for the next not to be read.

    `labels` are the classes, in the order of logits; `counts` how many rows of each there were to
    learn from. `certificate` says what is promised, if anything is. `model` are the facts of the
    encoder that made the vectors, so that texts can be classified.
    """

    sizes: tuple[Linear, ...]
    thresholds: tuple[float, ...]
    labels: tuple[Label, ...]
    counts: tuple[int, ...]
    certificate: Certificate | None = None
    rotation: Rotation | None = None
    """Applied first: sizes are then prefixes of the rotated vectors, as an index stores them."""
    model: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        dims = [size.dims for size in self.sizes]
        if not dims or dims != sorted(set(dims)):
            raise DimsError(f"sizes {dims} do not rise; give each size once, the smallest first")
        if len(self.thresholds) != len(dims) - 1:
            raise InputError(f"{len(self.thresholds)} thresholds, {len(dims)} sizes; use one less")
        classes = {len(size.bias) for size in self.sizes} | {len(self.labels), len(self.counts)}
        if len(classes) != 1:
            raise InputError(f"sizes, labels and counts are of {sorted(classes)} classes; use one")
        if len(set(self.labels)) < len(self.labels):
            raise InputError("a label names two classes; give each class a label of its own")
        if not all(threshold >= 0 for threshold in self.thresholds):
            raise InputError(f"thresholds {self.thresholds} are to be 0 or more")

    @classmethod
    def fit(  # noqa: PLR0913  one call says all about a cascade
        cls,
        vectors: ArrayLike,
        labels: Labels,
        dims: Sequence[int] | None = None,
        *,
        classifier: str = "softmax",
        rotation: str = "pca",
        chain: str = "backward",
        alpha: float | None = None,
        confidence: float = 0.95,
        held_out: float = 0.3,
        seed: int = 0,
    ) -> "Cascade":
        """Classifiers on frozen `vectors` [n, dim], and thresholds on rows held out from them.

        `dims` are the sizes, in any order (None: halvings of the width down to 8); the largest
        stands for full width. `classifier` is "softmax" or "nearest-mean". `rotation="pca"` puts
        the strongest directions first, as in an index; "none" keeps a nested model's own order. A
        share `held_out` of each class, drawn with `seed`, is not learnt from; classes of one row
        are learnt from only, so that no promise is of them. Thresholds are as `of` says.
        """
        _check_options(chain, alpha, confidence, seed)
        if classifier not in FITS:
            raise InputError(f"classifier={classifier!r} is unknown; use one of {', '.join(FITS)}")
        if rotation not in ROTATIONS:
            raise InputError(f"rotation={rotation!r} is unknown; use {' or '.join(ROTATIONS)}")
        rows = as_float32(vectors)
        sizes = _sizes(dims, rows.shape[1])
        names, answers = _classes(labels, len(rows))
        learning, holding = _split(answers, held_out, np.random.default_rng(seed))
        counts = np.bincount(answers[learning], minlength=len(names))
        turned = Rotation.fit(rows[learning]) if rotation == "pca" else None
        rows = rows if turned is None else turned.transform(rows)
        fitted = [
            FITS[classifier](prefix(rows[learning], size, True), answers[learning], len(names))
            for size in sizes
        ]
        cascade = cls.of(
            fitted, names, rows[holding], [names[i] for i in answers[holding]],
            counts=counts.tolist(), chain=chain, alpha=alpha, confidence=confidence, seed=seed,
        )  # fmt: skip
        return replace(cascade, rotation=turned)

    @classmethod
    def of(  # noqa: PLR0913  one call says all about its thresholds
        cls,
        sizes: Sequence[Linear],
        labels: Sequence[Label],
        vectors: ArrayLike,
        answers: Labels,
        *,
        counts: Sequence[int] | None = None,
        chain: str = "backward",
        alpha: float | None = None,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> "Cascade":
        """Classifiers that there are already (a trained head's), with thresholds on held-out rows.

        Each size is calibrated by a temperature. Without `alpha` no promise is made: the `chain` is
        "backward", or "pairwise" as in MRL-AC, which sees no further than the next size. With
        `alpha`, which leaves no say to a chain, accuracy is within `alpha` of the largest size's
        with `confidence`: half of the rows calibrate, and one threshold for all sizes is certified
        on the others.
        """
        _check_options(chain, alpha, confidence, seed)
        rows = as_float32(vectors)
        _check_width(rows, max((size.dims for size in sizes), default=0))
        found = _numbers(answers, labels, len(rows))
        calibrating, certifying = _halves(len(rows), alpha is not None, np.random.default_rng(seed))
        tempered = tuple(
            size.calibrated(rows[calibrating], found[calibrating])
            for size in sorted(sizes, key=lambda size: size.dims)
        )
        known = tuple(counts) if counts is not None else (0,) * len(labels)
        never = (NEVER,) * (len(tempered) - 1)
        cascade = cls(tempered, never, tuple(labels), known)
        if alpha is None:
            chosen = CHAINS[chain](cascade.answers(rows, answers))
            return replace(cascade, thresholds=chosen)
        of_rows = cascade.answers(rows[certifying], [labels[i] for i in found[certifying]])
        thresholds, certificate = certified(of_rows, alpha, confidence)
        return replace(cascade, thresholds=thresholds, certificate=certificate)

    @property
    def dims(self) -> tuple[int, ...]:
        """The sizes, smallest first."""
        return tuple(size.dims for size in self.sizes)

    @property
    def read(self) -> tuple[bool, ...]:
        """Which sizes are read: not those with a threshold that no probability reaches."""
        return (*(threshold <= 1 for threshold in self.thresholds), True)

    def predict(self, vectors: ArrayLike) -> Predictions:
        """The label of each row [n, dim]; no size beyond the first that is sure enough is read."""
        rows = self._read(vectors)
        found, sure = np.zeros(len(rows), np.int64), np.zeros(len(rows))
        used, left = np.zeros(len(rows), np.int64), np.arange(len(rows))
        levels = (*self.thresholds, 0.0)
        for size, threshold, is_read in zip(self.sizes, levels, self.read, strict=True):
            if not is_read:
                continue
            likely = size.probabilities(rows[left])
            # As thresholds were chosen: in float32, .9 is a little less.
            highest = likely.max(axis=1).astype(np.float64)
            answered = highest >= threshold
            here = left[answered]
            found[here], sure[here] = likely[answered].argmax(axis=1), highest[answered]
            used[here] = size.dims
            left = left[~answered]
        return Predictions(np.asarray(self.labels)[found], sure, used)

    def answers(self, vectors: ArrayLike, labels: Labels) -> Answers:
        """What every size says of rows whose labels are known; unknown labels are never right."""
        rows = self._read(vectors)
        places = {label: place for place, label in enumerate(self.labels)}
        known = np.array([places.get(label, -1) for label in _listed(labels, len(rows))], np.int64)
        likely = [size.probabilities(rows) for size in self.sizes]
        return Answers(
            np.stack([p.max(axis=1) for p in likely]).astype(np.float64),
            np.stack([p.argmax(axis=1) == known for p in likely]),
        )

    def _read(self, vectors: ArrayLike) -> Float32[np.ndarray, "n dim"]:
        """The rows as the sizes take them."""
        rows = as_float32(vectors)
        _check_width(rows, self.dims[-1])
        return rows if self.rotation is None else self.rotation.transform(rows, self.dims[-1])

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file with a JSON header and a checksum, in one step."""
        arrays, header = pack({field.name: getattr(self, field.name) for field in fields(self)})
        write_file(Path(path), arrays, header, CASCADE)

    @classmethod
    def load(cls, path: str | Path) -> "Cascade":
        """Read what `save` wrote; `DataError` for any other file, and for a damaged one."""
        arrays, header = read_file(Path(path), CASCADE)
        try:
            return cls(**unpack(arrays, header))
        except (KeyError, ValueError, TypeError, AttributeError) as e:
            raise DataError(f"'{path}' holds no usable cascade ({e}); fit and save it again") from e


def _check_options(chain: str, alpha: float | None, confidence: float, seed: int) -> None:
    if chain not in CHAINS:
        raise InputError(f"chain={chain!r} is unknown; use one of {', '.join(CHAINS)}")
    if alpha is not None and chain != "backward":
        raise InputError(f"chain={chain!r} has no say where alpha is given; leave one of them out")
    if not (alpha is None or 0 < alpha < 1) or not 0.5 < confidence < 1:
        raise InputError(
            f"alpha={alpha} at confidence={confidence} cannot be shown by a sample; "
            "use alpha between 0 and 1 and confidence between 0.5 and 1"
        )
    if seed < 0:
        raise InputError(f"seed={seed} is below 0; use 0 or more")


def _sizes(dims: Sequence[int] | None, width: int) -> list[int]:
    if dims is None:
        halvings = {width >> times for times in range(1, 16)}
        return sorted({width} | {size for size in halvings if size >= 8})
    sizes = sorted(check_dims(size, width) for size in dims)
    if not sizes or len(set(sizes)) < len(sizes):
        raise DimsError(f"dims={list(dims)}; give each size once, and at least one")
    return sizes


def _listed(labels: Labels, n: int) -> list[Label]:
    """Plain texts or whole numbers, one per row."""
    # Plain ones: those of NumPy are told apart by their type, and no JSON holds them.
    given = labels.tolist() if isinstance(labels, np.ndarray) else labels
    listed: list[Any] = [one.item() if isinstance(one, np.generic) else one for one in given]
    if len(listed) != n:
        raise InputError(f"{len(listed)} labels for {n} vectors; give one per row")
    if not all(isinstance(label, str | int) for label in listed):
        raise InputError("labels are to be texts or whole numbers")
    return listed


def _classes(labels: Labels, n: int) -> tuple[list[Label], Int64[np.ndarray, " n"]]:
    """The labels there are, in order, and the number of each row's."""
    listed = _listed(labels, n)
    if len({type(label) for label in listed}) > 1:
        raise InputError("labels are of several types; use texts or whole numbers throughout")
    names: list[Any] = sorted(set(listed))
    if len(names) < 2:
        raise InputError(f"{len(names)} label(s) leave nothing to tell apart; use two or more")
    return names, _numbers(listed, names, n)


def _numbers(labels: Labels, names: Sequence[Label], n: int) -> Int64[np.ndarray, " n"]:
    places = {label: place for place, label in enumerate(names)}
    try:
        return np.array([places[label] for label in _listed(labels, n)], dtype=np.int64)
    except KeyError as e:
        raise InputError(
            f"label {e.args[0]!r} is none of the classifier's {len(names)}; leave such rows out"
        ) from None


def _split(
    answers: Int64[np.ndarray, " n"], held_out: float, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " learning"], Int64[np.ndarray, " holding"]]:
    """Rows to learn from and rows held out: of each class the given share, at least one left."""
    if not 0 < held_out < 1:
        raise InputError(f"held_out={held_out} is out of range; use more than 0 and less than 1")
    holding = np.zeros(len(answers), dtype=bool)
    for number in range(int(answers.max()) + 1):
        rows = rng.permutation(np.flatnonzero(answers == number))
        holding[rows[: min(len(rows) - 1, round(held_out * len(rows)))]] = True
    if not holding.any():
        raise InputError(f"no class has rows to spare for held_out={held_out}; give more rows")
    return np.flatnonzero(~holding), np.flatnonzero(holding)


def _halves(
    n: int, certify: bool, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " calibrating"], Int64[np.ndarray, " certifying"]]:
    if n < 2:
        raise InputError(f"{n} rows are held out; thresholds need hundreds")
    order = rng.permutation(n)
    return (order[: n // 2], order[n // 2 :]) if certify else (order, order[:0])


def _check_width(rows: Float32[np.ndarray, "n dim"], width: int) -> None:
    if rows.shape[1] < width:
        raise VectorsError(
            f"vectors have {rows.shape[1]} dimensions, the cascade reads up to {width}; "
            "embed them with the model that it was fitted for"
        )
