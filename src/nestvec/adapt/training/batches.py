"""Batches: queries, the documents they are ranked against, and what they are to find."""

from typing import NamedTuple

import numpy as np
import torch

from nestvec.adapt.material import Material
from nestvec.adapt.recipe import Recipe
from nestvec.shapes import Bool, Float, Int64
from nestvec.vectors import normalize


class Batch(NamedTuple):
    """One step's work. `mask` is true for a query's own document."""

    queries: Float[torch.Tensor, "q dim"]
    documents: Float[torch.Tensor, "n dim"]
    mask: Bool[torch.Tensor, "q n"]
    grades: Float[torch.Tensor, "q n"]


class Batches:
    """Draws batches; the same seed and step give the same one, whatever was drawn before."""

    def __init__(self, material: Material, recipe: Recipe, seed: int, device: str) -> None:
        self._material, self._recipe, self._seed = material, recipe, seed
        self._device = device
        self._documents = torch.from_numpy(material.documents).to(device)
        judged = material.judged
        self._starts = (
            None
            if judged is None
            else np.searchsorted(judged.queries, np.arange(len(material.queries) + 1))
        )

    def draw(self, step: int) -> Batch:
        """The batch of a step: queries, and documents that stand for some, half and half."""
        rng = np.random.default_rng([self._seed, 3, step])
        asked, stand_ins = self._drawn(rng)
        own = np.concatenate([self._material.own[asked], stand_ins])
        rows = np.concatenate([self._material.queries[asked], self._moved(stand_ins, rng)])
        answers = self._answers(asked)
        chosen = self._candidates(np.concatenate([own, answers[1]]), rng)
        mask, grades = (np.zeros((len(rows), len(chosen)), t) for t in (bool, np.float32))
        places = np.searchsorted(chosen, own)
        has_own = np.flatnonzero(own >= 0)
        mask[has_own, places[has_own]] = True
        grades[answers[0], np.searchsorted(chosen, answers[1])] = answers[2]
        grades[mask] = 0
        there = [torch.from_numpy(a).to(self._device) for a in (rows, mask, grades)]
        documents = self._documents[torch.from_numpy(chosen).to(self._device)]
        return Batch(there[0], documents, there[1], there[2])

    def _drawn(
        self, rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " asked"], Int64[np.ndarray, " stand_ins"]]:
        """Queries and documents; where the queries are documents there is no need for others."""
        batch, material = self._recipe.batch, self._material
        of_documents = bool((material.own >= 0).all()) and material.judged is None
        asked = 0 if of_documents else -(-batch // 2)
        return (
            rng.integers(0, len(material.queries), asked),
            rng.integers(0, len(material.documents), batch - asked),
        )

    def _moved(
        self, rows: Int64[np.ndarray, " m"], rng: np.random.Generator
    ) -> Float[np.ndarray, "m dim"]:
        """Documents, each moved by up to `noise` in a direction of its own."""
        documents = self._material.documents[rows]
        if not self._recipe.noise:
            return np.asarray(documents)
        drawn = normalize(rng.standard_normal(documents.shape, dtype=np.float32))
        length = rng.random((len(rows), 1), dtype=np.float32) * np.float32(self._recipe.noise)
        return np.asarray(normalize(documents + length * drawn))

    def _answers(
        self, asked: Int64[np.ndarray, " asked"]
    ) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        """Place in the batch, document and grade of each judgement of the queries drawn."""
        judged = self._material.judged
        if judged is None or self._starts is None:
            nothing = np.empty(0, np.int64)
            return nothing, nothing, np.empty(0, np.float32)
        first, last = self._starts[asked], self._starts[asked + 1]
        at = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
        return (
            np.repeat(np.arange(len(asked)), last - first),
            judged.documents[at],
            judged.grades[at],
        )

    def _candidates(
        self, needed: Int64[np.ndarray, " some"], rng: np.random.Generator
    ) -> Int64[np.ndarray, " n"]:
        """The documents to rank, rising: the needed ones and others at random, or all."""
        n = len(self._material.documents)
        if n <= self._recipe.candidates:
            return np.arange(n)
        drawn = rng.integers(0, n, self._recipe.candidates)
        return np.unique(np.concatenate([drawn, needed[needed >= 0]]))
