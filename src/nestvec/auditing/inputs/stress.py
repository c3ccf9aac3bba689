"""What a caller says beyond vectors and judgements, checked and brought to rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.auditing.measures.few_shot import members_of
from nestvec.auditing.measures.stress import COSINES
from nestvec.auditing.options import Stress, Texts
from nestvec.auditing.perturbations.mining import best_judged, mine_from_other, mine_from_words
from nestvec.auditing.perturbations.reencoding import TYPOS, edit_documents, mistype_queries
from nestvec.auditing.task import Extras, Origin, Task
from nestvec.auditing.types import Encoded, Triplets
from nestvec.errors import InputError
from nestvec.progress import Progress
from nestvec.shapes import Bool, Float32, Int64
from nestvec.vectors import as_float32, check_magnitude

LEAST_SLICE = 20
"""Queries in a slice and beside it; fewer are not told of."""
_TAKEN = {
    TYPOS,
    "slice",
    "farthest_quarter",
    "rarest_tenth",
    *(f"noise_{cosine}" for cosine in COSINES),
}
"""Names that the audit's own disturbances have."""


def read_extras(
    task: Task, texts: Texts | None, stress: Stress | None, progress: Progress
) -> Extras:
    """All of it; edited texts are encoded here, once. `InputError` for what does not fit."""
    known, given = _read_texts(texts or Texts(), task), stress or Stress()
    sample, width = task.sample, task.full.documents.shape[1]
    _check_names([*given.noisy, *given.strangers])
    noisy = {
        name: _read_noisy(vectors, name, task.full)[sample] for name, vectors in given.noisy.items()
    }
    typed = mistype_queries(known, task.full, sample, task.seed, progress)
    labels = _read_labels(given.labels, len(task.full.documents))
    edited = None
    if task.judged is not None:
        edited = edit_documents(known, task.full, task.judged, task.seed, progress)
    return Extras(
        texts=known,
        edited=edited,
        disturbed=noisy if typed is None else {TYPOS: typed, **noisy},
        strangers={
            name: _finite(vectors, name, width) for name, vectors in given.strangers.items()
        },
        slices=_read_slices(given.slices, task),
        frequencies=_read_frequencies(given.frequencies, labels, task),
        labels=labels,
    )


def read_negatives(
    task: Task, mine: str | Sequence[ArrayLike] | None, texts: Texts | None
) -> tuple[Triplets | None, Origin | None]:
    """Hard negatives that are the same for all variants, and who made them.

    Those given; else mined from judgements as `mine` says, "union" leaving it to each variant.
    """
    if task.triplets is not None:
        if mine is not None and mine != "union":
            raise InputError("hard negatives are given, so mine does nothing; give one of the two")
        return task.triplets, "given"
    if isinstance(mine, str) and mine not in ("union", "words"):
        raise InputError(f'mine={mine!r} is not known; use "union", "words", vectors or None')
    if task.judged is None:
        if mine is None or mine == "union":
            return None, None
        raise InputError("hard negatives are mined from judgements; give qrels, or leave mine out")
    if mine is None or isinstance(mine, str):
        return _by_name(task, mine, texts)
    return mine_from_other(_read_other(mine, task.full), task.judged, task.own), "other"


def _by_name(
    task: Task, mine: str | None, texts: Texts | None
) -> tuple[Triplets | None, Origin | None]:
    if mine != "words":
        return None, None if mine is None else "union"
    assert task.judged is not None
    if texts is None or texts.documents is None or texts.queries is None:
        raise InputError('mine="words" takes the texts of documents and queries; give texts')
    known = _read_texts(texts, task)
    assert known.documents is not None and known.queries is not None
    return mine_from_words(known.queries, known.documents, task.judged, task.own), "words"


def _read_other(given: Sequence[ArrayLike], full: Encoded) -> Encoded:
    if len(given) != 2:
        raise InputError(
            f"mine holds {len(given)} arrays; give two, documents and queries by another model"
        )
    documents = as_float32(given[0], "documents to mine by")
    queries = as_float32(given[1], "queries to mine by", documents.shape[1])
    if (len(documents), len(queries)) != (len(full.documents), len(full.queries)):
        raise InputError(
            f"mine holds {len(documents)} documents and {len(queries)} queries; the audit has "
            f"{len(full.documents)} and {len(full.queries)}: give the same rows"
        )
    return Encoded(queries, documents)


def _read_texts(texts: Texts, task: Task) -> Texts:
    sides = ((texts.documents, task.full.documents), (texts.queries, task.full.queries))
    for given, vectors in sides:
        if given is not None and len(given) != len(vectors):
            raise InputError(f"{len(given)} texts for {len(vectors)} vectors; give one per row")
    return texts


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name in _TAKEN or names.count(name) > 1 or ":" in name:
            raise InputError(f"{name!r} names a stress twice, or holds a colon; choose another")


def _finite(vectors: ArrayLike, name: str, width: int) -> Float32[np.ndarray, "m dim"]:
    read = as_float32(vectors, name, width)
    check_magnitude(read, name)
    return read


def _read_noisy(vectors: ArrayLike, name: str, full: Encoded) -> Float32[np.ndarray, "q dim"]:
    read = _finite(vectors, name, full.queries.shape[1])
    if len(read) != len(full.queries):
        raise InputError(
            f"{name} are {len(read)} vectors for {len(full.queries)} queries; give each query anew"
        )
    return read


def _read_slices(
    given: Mapping[str, Sequence[Any] | np.ndarray], task: Task
) -> dict[str, Bool[np.ndarray, " q"]]:
    """A mask per part, by "name" where values are true or false, else by "name=value"."""
    found: dict[str, Bool[np.ndarray, " q"]] = {}
    for name, values in given.items():
        column = np.asarray(values)
        if column.shape != (len(task.full.queries),):
            raise InputError(
                f"slice {name!r} has {column.size} values for {len(task.full.queries)} queries; "
                "give each query one"
            )
        if column.dtype == bool:
            found[name] = column
        else:
            found |= {f"{name}={value}": column == value for value in np.unique(column)}
    return {name: part for name, part in found.items() if _is_told(part[task.asked])}


def _is_told(part: Bool[np.ndarray, " asked"]) -> bool:
    return LEAST_SLICE <= int(part.sum()) <= len(part) - LEAST_SLICE


def _read_labels(
    given: Sequence[Any] | np.ndarray | None, n: int
) -> Int64[np.ndarray, " n"] | None:
    if given is None:
        return None
    if len(given) != n:
        raise InputError(f"{len(given)} labels for {n} documents; give each document one")
    _, numbers = np.unique(np.asarray(given), return_inverse=True)
    labels = numbers.reshape(-1).astype(np.int64)
    members_of(labels)  # said before anything is ranked
    return labels


def _read_frequencies(
    given: Sequence[int] | np.ndarray | None, labels: Int64[np.ndarray, " n"] | None, task: Task
) -> Int64[np.ndarray, " q"] | None:
    """Those given; else how many documents are of the class of each query's best one."""
    q = len(task.full.queries)
    if given is not None:
        frequencies = np.asarray(given)
        if frequencies.shape != (q,) or frequencies.dtype.kind not in "iu":
            raise InputError(f"frequencies are not one whole number for each of {q} queries")
        return _if_uneven(frequencies.astype(np.int64), task)
    if labels is None or task.judged is None:
        return None
    queries, best = best_judged(task.judged)
    frequencies = np.zeros(q, np.int64)
    frequencies[queries] = np.bincount(labels)[labels[best]]
    return _if_uneven(frequencies, task)


def _if_uneven(frequencies: Int64[np.ndarray, " q"], task: Task) -> Int64[np.ndarray, " q"] | None:
    """Where all are as rare, none is the rarest."""
    edge = np.quantile(frequencies[task.asked], 0.1, method="lower")
    return None if (frequencies[task.asked] <= edge).all() else frequencies
