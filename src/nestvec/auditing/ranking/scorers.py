"""What puts a positive before or behind a negative: vectors alone, or vectors of a shortlist."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from nestvec.auditing.measures.margins import score_spread, triplet_margins
from nestvec.auditing.types import Encoded, Triplets
from nestvec.shapes import Bool, Float64, Int64


@runtime_checkable
class Scorer(Protocol):
    """Whoever can tell a positive from a negative."""

    def margins(self, triplets: Triplets) -> Float64[np.ndarray, " t"]:
        """Above 0 where the positive wins, 0 where both tie, below 0 where it loses."""
        ...

    def spread(self, rng: np.random.Generator) -> float | None:
        """The standard deviation of scores of random pairs; None where margins have no scale."""
        ...


@dataclass(frozen=True)
class ByVectors:
    """Inner products."""

    encoded: Encoded

    def margins(self, triplets: Triplets) -> Float64[np.ndarray, " t"]:
        """s⁺ − s⁻."""
        return triplet_margins(self.encoded, triplets)

    def spread(self, rng: np.random.Generator) -> float | None:
        """As the scores are."""
        return score_spread(self.encoded, rng)


@dataclass(frozen=True)
class ByShortlist:
    """Full vectors, for what a smaller variant lets into its shortlist: a rescored variant.

    A positive that is not in the shortlist loses, whatever the negative does: nobody is answered
    by it. A negative that is not in it loses to a positive that is. Two that are in it are told
    apart by full vectors.
    """

    full: Encoded
    shortlist: Int64[np.ndarray, "q depth"]
    """The documents that are rescored for each query, by their rows in the corpus."""
    rows: Int64[np.ndarray, " n"] | None = None
    """The row in the corpus of each document of `full`, where these are others. −1: of none; such
    a document, a near miss made by hand, is taken to be in every shortlist, which is the worst."""

    def margins(self, triplets: Triplets) -> Float64[np.ndarray, " t"]:
        """s⁺ − s⁻ by full vectors; ∞ and −∞ where the shortlist decides."""
        margins = triplet_margins(self.full, triplets)
        margins[~self._holds(triplets.queries, triplets.negatives)] = np.inf
        margins[~self._holds(triplets.queries, triplets.positives)] = -np.inf
        return margins

    def spread(self, rng: np.random.Generator) -> float | None:
        """None: what the shortlist decides has no margin."""
        return None

    def _holds(
        self, queries: Int64[np.ndarray, " t"], documents: Int64[np.ndarray, " t"]
    ) -> Bool[np.ndarray, " t"]:
        rows = documents if self.rows is None else self.rows[documents]
        most = int(max(self.shortlist.max(), rows.max())) + 1
        numbers = self.shortlist + most * np.arange(len(self.shortlist))[:, None]
        return np.asarray((rows < 0) | np.isin(queries * most + rows, numbers))
