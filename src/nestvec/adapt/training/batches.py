"""Batches: queries, the documents they are ranked against, and the rankings to learn."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from nestvec.adapt.config import AdaptorConfig
from nestvec.adapt.training_data import TrainingData
from nestvec.shapes import Bool, Float, Float32, Int64
from nestvec.vectors import normalize

_MAX_RELEVANT = 20
"""Relevant documents of one query that are always among the candidates."""


class RankingBatch(NamedTuple):
    """The data of one step."""

    queries: Float[torch.Tensor, "q dim"]
    documents: Float[torch.Tensor, "n dim"]
    full: Float[torch.Tensor, "q n"]
    """Cosines at full width, averaged over the teachers."""
    mask: Bool[torch.Tensor, "q n"]
    """True for a query's self-match."""
    grades: Float[torch.Tensor, "q n"]


class Batches:
    """A source of batches by step number; equal seeds and steps give equal batches.

    The rankings to keep are those of the rows times each of `teachers`, averaged.
    """

    def __init__(
        self,
        data: TrainingData,
        teachers: Sequence[Float32[np.ndarray, "dim dim"]],
        config: AdaptorConfig,
        seed: int,
        device: str,
    ) -> None:
        self._data, self._config, self._seed = data, config, seed
        self._device = device
        self._teachers = [torch.tensor(teacher, device=device) for teacher in teachers]
        self._documents = torch.from_numpy(data.documents).to(device)
        self._teacher_documents = self._teacher_rows(self._documents)
        self._first_pairs = (
            None
            if data.judgments is None
            else np.searchsorted(data.judgments.queries, np.arange(len(data.queries) + 1))
        )

    def draw(self, step: int) -> RankingBatch:
        """Draw the batch of a step: queries, and documents that stand for queries."""
        rng = np.random.default_rng([self._seed, 3, step])
        query_rows, stand_ins = self._sample_queries(rng)
        self_match = np.concatenate([self._data.self_match[query_rows], stand_ins])
        vectors = np.concatenate([self._data.queries[query_rows], self._add_noise(stand_ins, rng)])
        relevant = [self._relevant(query) for query in query_rows.tolist()]
        required = [rng.permutation(documents)[:_MAX_RELEVANT] for documents, _ in relevant]
        candidates = self._candidate_documents(np.concatenate([self_match, *required]), rng)
        mask, grades = (
            np.zeros((len(vectors), len(candidates)), dtype) for dtype in (bool, np.float32)
        )
        drawn = np.flatnonzero(self_match >= 0)
        mask[drawn, np.searchsorted(candidates, self_match[drawn])] = True
        for position, (documents, document_grades) in enumerate(relevant):
            present = np.isin(documents, candidates)
            columns = np.searchsorted(candidates, documents[present])
            grades[position, columns] = document_grades[present]
        grades[mask] = 0
        queries, mask_tensor, grade_tensor = (
            torch.from_numpy(array).to(self._device) for array in (vectors, mask, grades)
        )
        rows = torch.from_numpy(candidates).to(self._device)
        full = self._teacher_rows(queries) @ self._teacher_documents[rows].T
        return RankingBatch(queries, self._documents[rows], full, mask_tensor, grade_tensor)

    def _teacher_rows(self, rows: Float[torch.Tensor, "n dim"]) -> Float[torch.Tensor, "n widths"]:
        """Join the unit rows of all teachers: products are the mean of the teachers' cosines."""
        unit = [functional.normalize(rows @ teacher) for teacher in self._teachers]
        return torch.cat(unit, dim=1) / math.sqrt(len(unit))

    def _sample_queries(
        self, rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " queries"], Int64[np.ndarray, " stand_ins"]]:
        """Draw queries and documents; where all queries are documents, documents alone."""
        batch_size, data = self._config.batch_size, self._data
        only_documents = bool((data.self_match >= 0).all()) and data.judgments is None
        # Judged queries teach more, and are fewer: a quarter of each batch is enough of them.
        divisor = 2 if data.judgments is None else 4
        n_queries = 0 if only_documents else -(-batch_size // divisor)
        return (
            rng.integers(0, len(data.queries), n_queries),
            rng.integers(0, len(data.documents), batch_size - n_queries),
        )

    def _add_noise(
        self, rows: Int64[np.ndarray, " m"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "m dim"]:
        """Move documents by up to `query_noise`, each in a random direction."""
        documents = self._data.documents[rows]
        if not self._config.query_noise:
            return np.asarray(documents)
        directions = normalize(rng.standard_normal(documents.shape, dtype=np.float32))
        max_length = np.float32(self._config.query_noise)
        length = rng.random((len(rows), 1), dtype=np.float32) * max_length
        return np.asarray(normalize(documents + length * directions))

    def _relevant(self, query: int) -> tuple[Int64[np.ndarray, " m"], Float32[np.ndarray, " m"]]:
        """Look up the relevant documents of a query and their grades."""
        judgments = self._data.judgments
        if judgments is None or self._first_pairs is None:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        pairs = slice(self._first_pairs[query], self._first_pairs[query + 1])
        return judgments.documents[pairs], judgments.grades[pairs]

    def _candidate_documents(
        self, required: Int64[np.ndarray, " some"], rng: np.random.Generator
    ) -> Int64[np.ndarray, " n"]:
        """Draw the documents to rank, ascending: the required ones and random others, or all."""
        n = len(self._data.documents)
        if n <= self._config.n_candidates:
            return np.arange(n)
        sample = rng.integers(0, n, self._config.n_candidates)
        return np.unique(np.concatenate([sample, required[required >= 0]]))
