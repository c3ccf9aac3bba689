"""Batches: queries, the documents they are ranked against, and what they are to find."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from nestvec.adapt.config import Recipe
from nestvec.adapt.training_data import Material
from nestvec.shapes import Bool, Float, Float32, Int64
from nestvec.vectors import normalize

_MOST_ANSWERS = 20
"""Relevant documents of one query that are sure to be among those ranked."""


class Batch(NamedTuple):
    """One step's work."""

    queries: Float[torch.Tensor, "q dim"]
    documents: Float[torch.Tensor, "n dim"]
    full: Float[torch.Tensor, "q n"]
    """Cosines at full width, as the teachers have them on average."""
    mask: Bool[torch.Tensor, "q n"]
    """True for a query's own document."""
    grades: Float[torch.Tensor, "q n"]


class Batches:
    """Draws batches; the same seed and step give the same one, whatever was drawn before.

    Rows times each of `teachers` are what has the ranking to keep.
    """

    def __init__(
        self,
        material: Material,
        teachers: Sequence[Float32[np.ndarray, "dim dim"]],
        recipe: Recipe,
        seed: int,
        device: str,
    ) -> None:
        self._material, self._recipe, self._seed = material, recipe, seed
        self._device = device
        self._teachers = [torch.tensor(teacher, device=device) for teacher in teachers]
        self._documents = torch.from_numpy(material.documents).to(device)
        self._taught = self._teach(self._documents)
        judged = material.judged
        self._starts = (
            None
            if judged is None
            else np.searchsorted(judged.queries, np.arange(len(material.queries) + 1))
        )

    def draw(self, step: int) -> Batch:
        """The batch of a step: queries, and documents that stand for some."""
        rng = np.random.default_rng([self._seed, 3, step])
        asked, stand_ins = self._drawn(rng)
        own = np.concatenate([self._material.own[asked], stand_ins])
        rows = np.concatenate([self._material.queries[asked], self._moved(stand_ins, rng)])
        answers = [self._answers(query) for query in asked.tolist()]
        some = [rng.permutation(found)[:_MOST_ANSWERS] for found, _ in answers]
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

    def _teach(self, rows: Float[torch.Tensor, "n dim"]) -> Float[torch.Tensor, "n widths"]:
        """Unit rows side by side, whose products are the mean of all teachers' cosines."""
        taught = [functional.normalize(rows @ teacher) for teacher in self._teachers]
        return torch.cat(taught, dim=1) / math.sqrt(len(taught))

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

    def _answers(self, query: int) -> tuple[Int64[np.ndarray, " m"], Float32[np.ndarray, " m"]]:
        """The judged documents of a query and their grades."""
        judged = self._material.judged
        if judged is None or self._starts is None:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        own = slice(self._starts[query], self._starts[query + 1])
        return judged.documents[own], judged.grades[own]

    def _candidates(
        self, needed: Int64[np.ndarray, " some"], rng: np.random.Generator
    ) -> Int64[np.ndarray, " n"]:
        """The documents to rank, rising: the needed ones and others at random, or all."""
        n = len(self._material.documents)
        if n <= self._recipe.candidates:
            return np.arange(n)
        drawn = rng.integers(0, n, self._recipe.candidates)
        return np.unique(np.concatenate([drawn, needed[needed >= 0]]))
