"""Batches: queries, the documents they are ranked against, and what they are to find."""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from nestvec.adapt.material import Judged, Material
from nestvec.adapt.recipe import Recipe
from nestvec.shapes import Bool, Float, Float32, Int64
from nestvec.vectors import normalize

_MOST_ANSWERS = 20
"""Relevant documents of one query that are sure to be among those ranked."""
_FEW_ANSWERS = 4
"""The same of a document that stands for a query: there are more of them."""

_Graded = tuple[Int64[np.ndarray, " m"], Float32[np.ndarray, " m"]]
"""Documents and their grades."""


class Batch(NamedTuple):
    """One step's work."""

    queries: Float[torch.Tensor, "q dim"]
    documents: Float[torch.Tensor, "n dim"]
    full: Float[torch.Tensor, "q n"]
    """Cosines at full width, as the teacher has them."""
    mask: Bool[torch.Tensor, "q n"]
    """True for a query's own document."""
    grades: Float[torch.Tensor, "q n"]


class _Relevance:
    """Who answers whom, looked up from either side."""

    def __init__(self, judged: Judged) -> None:
        self._judged = judged
        order = np.argsort(judged.documents, kind="stable")
        self._documents, self._queries = judged.documents[order], judged.queries[order]

    def of_query(self, query: int) -> _Graded:
        """The documents that answer a query, and their grades."""
        first, last = np.searchsorted(self._judged.queries, (query, query + 1))
        return self._judged.documents[first:last], self._judged.grades[first:last]

    def of_document(self, document: int, rng: np.random.Generator) -> _Graded:
        """Those of a query that this document answers, drawn of all; none if it answers none."""
        first, last = np.searchsorted(self._documents, (document, document + 1))
        if first == last:
            return self.of_query(-1)
        return self.of_query(int(self._queries[rng.integers(first, last)]))


class Batches:
    """Draws batches; the same seed and step give the same one, whatever was drawn before.

    Rows times `teacher` (None: rows themselves) are what has the ranking to keep.
    """

    def __init__(
        self,
        material: Material,
        teacher: Float32[np.ndarray, "dim width"] | None,
        recipe: Recipe,
        seed: int,
        device: str,
    ) -> None:
        self._material, self._recipe, self._seed = material, recipe, seed
        self._device = device
        self._teacher = None if teacher is None else torch.tensor(teacher, device=device)
        self._documents = torch.from_numpy(material.documents).to(device)
        self._taught = self._teach(self._documents)
        self._relevance = None if material.judged is None else _Relevance(material.judged)

    def draw(self, step: int) -> Batch:
        """The batch of a step: queries, and documents that stand for some."""
        rng = np.random.default_rng([self._seed, 3, step])
        asked, stand_ins = self._drawn(rng)
        own = np.concatenate([self._material.own[asked], stand_ins])
        rows = np.concatenate([self._material.queries[asked], self._moved(stand_ins, rng)])
        answers = self._answers(asked, stand_ins, rng)
        most = [_MOST_ANSWERS] * len(asked) + [_FEW_ANSWERS] * len(stand_ins)
        some = [rng.permutation(found)[:m] for (found, _), m in zip(answers, most, strict=False)]
        chosen = self._candidates(np.concatenate([own, *some]), rng)
        mask, grades = (np.zeros((len(rows), len(chosen)), kind) for kind in (bool, np.float32))
        has_own = np.flatnonzero(own >= 0)
        mask[has_own, np.searchsorted(chosen, own[has_own])] = True
        for place, (found, given) in enumerate(answers):
            ranked = np.isin(found, chosen)
            grades[place, np.searchsorted(chosen, found[ranked])] = given[ranked]
        grades[mask] = 0
        queries, hidden, wanted = (
            torch.from_numpy(array).to(self._device) for array in (rows, mask, grades)
        )
        at = torch.from_numpy(chosen).to(self._device)
        full = self._teach(queries) @ self._taught[at].T
        return Batch(queries, self._documents[at], full, hidden, wanted)

    def _teach(self, rows: Float[torch.Tensor, "n dim"]) -> Float[torch.Tensor, "n width"]:
        mapped = rows if self._teacher is None else rows @ self._teacher
        return functional.normalize(mapped)

    def _drawn(
        self, rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " asked"], Int64[np.ndarray, " stand_ins"]]:
        """Queries and documents; where the queries are documents there is no need for others."""
        batch, material = self._recipe.batch, self._material
        of_documents = bool((material.own >= 0).all()) and material.judged is None
        # Judged queries teach more, and are fewer: a quarter of each batch is enough of them.
        share = 2 if material.judged is None else 4
        asked = 0 if of_documents else -(-batch // share)
        return (
            rng.integers(0, len(material.queries), asked),
            rng.integers(0, len(material.documents), batch - asked),
        )

    def _moved(
        self, rows: Int64[np.ndarray, " m"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "m dim"]:
        """Documents, each moved by up to `noise` in a direction of its own."""
        documents = self._material.documents[rows]
        if not self._recipe.noise:
            return np.asarray(documents)
        drawn = normalize(rng.standard_normal(documents.shape, dtype=np.float32))
        length = rng.random((len(rows), 1), dtype=np.float32) * np.float32(self._recipe.noise)
        return np.asarray(normalize(documents + length * drawn))

    def _answers(
        self,
        asked: Int64[np.ndarray, " asked"],
        stand_ins: Int64[np.ndarray, " stand_ins"],
        rng: np.random.Generator,
    ) -> list[_Graded]:
        """What each query is to find by the judgements, if there are any."""
        relevance = self._relevance
        if relevance is None:
            return []
        answers = [relevance.of_query(query) for query in asked.tolist()]
        if self._recipe.labels:
            answers += [relevance.of_document(row, rng) for row in stand_ins.tolist()]
        return answers

    def _candidates(
        self, needed: Int64[np.ndarray, " some"], rng: np.random.Generator
    ) -> Int64[np.ndarray, " n"]:
        """The documents to rank, rising: the needed ones and others at random, or all."""
        n = len(self._material.documents)
        if n <= self._recipe.candidates:
            return np.arange(n)
        drawn = rng.integers(0, n, self._recipe.candidates)
        return np.unique(np.concatenate([drawn, needed[needed >= 0]]))
