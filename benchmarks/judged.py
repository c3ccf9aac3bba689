"""Judged collections, embedded once and kept in `data`, with queries to learn from and not.

Training and test queries share no relevant document, wherever the judgements allow: claims about
one paper are much alike, and an adaptor that has seen one of them knows the other.
"""

import csv
import gzip
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.data import read_retrieval_set
from nestvec.encode import encode_to_file, open_encoder
from nestvec.progress import bar

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[2] / "shared" / "data"
RETRIEVAL = {
    "scifact": "train", "cranfield": "test", "cisi": "test", "cacm": "test",
    "arxiv-title-abstract": "test",
}  # fmt: skip
INTENTS = ("banking77", "clinc150")
NAMES = (*RETRIEVAL, *INTENTS, "word2vec-8k")
_MOST_QUERIES = 2_000


@dataclass(frozen=True, eq=False)
class Collection:
    """Documents, queries to learn from, queries to be judged by; pairs are of their row numbers."""

    name: str
    documents: np.ndarray
    train: np.ndarray
    train_pairs: list[tuple[int, int, float]]
    test: np.ndarray
    test_pairs: list[tuple[int, int, float]]
    strict: bool
    """No document is relevant to queries on both sides."""


def load(name: str) -> Collection:
    """The collection; its texts are encoded the first time, which takes minutes."""
    if name == "word2vec-8k":
        return _word2vec()
    return _intents(name) if name in INTENTS else _retrieval(name)


def _retrieval(name: str) -> Collection:
    given = read_retrieval_set(SHARED / "retrieval" / name, RETRIEVAL[name])
    documents = _encoded(f"{name}.corpus", given.corpus.texts)
    queries = _encoded(f"{name}.queries", given.queries.texts)
    row = {id_: place for place, id_ in enumerate(given.corpus.ids)}
    pairs = [
        (query, row[doc], float(grade))
        for query, id_ in enumerate(given.queries.ids)
        for doc, grade in given.qrels[id_].items()
        if grade > 0
    ]
    train, strict = _half(pairs, len(queries))
    return _split(name, documents, queries, pairs, train, strict)


def _intents(name: str) -> Collection:
    """Texts of the training split; queries are of the test split and, to learn from, of that."""
    with gzip.open(SHARED / "classification" / name / "texts.tsv.gz", "rt", encoding="utf-8") as f:
        rows = list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = [r for r in rows if "oos" not in (r["label"], r["split"][:3])]
    rng, vectors = np.random.default_rng(0), _encoded(f"{name}.texts", [r["text"] for r in rows])
    is_train = np.array([r["split"] == "train" for r in rows])
    shuffled = rng.permutation(np.flatnonzero(is_train))
    asked, kept = shuffled[:1000], shuffled[1000:]
    test = rng.permutation(np.flatnonzero(~is_train))[:_MOST_QUERIES]
    label = np.array([r["label"] for r in rows])
    queries = np.concatenate([asked, test])
    pairs = [
        (query, int(doc), 1.0)
        for query, at in enumerate(queries)
        for doc in np.flatnonzero(label[kept] == label[at])
    ]
    train = np.arange(len(queries)) < len(asked)
    return _split(name, vectors[kept], vectors[queries], pairs, train, strict=False)


def _word2vec() -> Collection:
    """No judgements: what is relevant to a held-out word are its ten nearest at full width."""
    rows = np.load(SHARED / "vectors" / "word2vec-8k.npy").astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    queries, documents = rows[shuffled[:1000]], rows[shuffled[1000:]]
    best = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :10]
    pairs = [(query, int(doc), 1.0) for query, line in enumerate(best) for doc in line]
    none = np.zeros(len(queries), bool)
    return _split("word2vec-8k", documents, queries, pairs, none, strict=True)


def _half(pairs: list[tuple[int, int, float]], queries: int) -> tuple[np.ndarray, bool]:
    """Half of the queries, whole components of shared documents first; whether that worked out."""
    component = _components(pairs, queries)
    sizes = Counter(component.tolist())
    rng, train = np.random.default_rng(0), np.zeros(queries, bool)
    for one in rng.permutation(list(sizes)):
        if train.sum() + sizes[one] <= queries / 2:
            train |= component == one
    if train.sum() >= queries / 4:
        return train, True
    # The judgements hang together: queries are split as they come.
    train[:] = False
    train[rng.permutation(queries)[: queries // 2]] = True
    return train, False


def _components(pairs: Iterable[tuple[int, int, float]], queries: int) -> np.ndarray:
    """A number for each query; equal for those that a chain of shared documents joins."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    asked, found, _ = np.array(list(pairs)).T.astype(np.int64)
    size = queries + found.max() + 1
    graph = coo_array((np.ones(len(asked)), (asked, queries + found)), shape=(size, size))
    return connected_components(graph, directed=False)[1][:queries]


def _split(
    name: str,
    documents: np.ndarray,
    queries: np.ndarray,
    pairs: list[tuple[int, int, float]],
    train: np.ndarray,
    strict: bool,
) -> Collection:
    place = np.where(train, np.cumsum(train), np.cumsum(~train)) - 1
    sides: dict[bool, list[tuple[int, int, float]]] = {True: [], False: []}
    for query, doc, grade in pairs:
        sides[bool(train[query])].append((int(place[query]), doc, grade))
    return Collection(
        name, documents, queries[train], sides[True], queries[~train], sides[False], strict
    )


def _encoded(name: str, texts: Any) -> np.ndarray:
    path = DATA / f"{name}.npy"
    if not path.exists():
        encode_to_file(open_encoder("minilm"), texts, path, progress=bar)
    return np.load(path)
