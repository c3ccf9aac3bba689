"""The coded cells of one immutable part of an index, memory-mapped beside its full vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestvec.codes import Codec
from nestvec.errors import DamagedIndexError
from nestvec.index.tensors import map_tensors
from nestvec.kernels.reference import GROUP, LANES, Cells
from nestvec.shapes import Float32


def codes_name(segment: int) -> str:
    """The file of a segment's cells and codes."""
    return f"{segment:06}.codes.safetensors"


BULK = ("head", "tail", "scale", "vectors")
"""Arrays that nothing is found through, so that no damage to them can lead a kernel astray."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Rows' codes in cells, and their full vectors."""

    cells: Cells
    codec: Codec
    rotation: Float32[np.ndarray, "dim dim"]
    vectors: Float32[np.ndarray, "n dim"]

    @classmethod
    def open(cls, path: Path, vectors: Float32[np.ndarray, "n dim"]) -> "Segment":
        """Map the codes; all that places depend on is checked, so that no kernel can stray."""
        arrays = map_tensors(path)
        try:
            segment = cls._from_arrays(arrays, vectors)
            _check_structure(segment.cells, segment.codec, len(vectors))
        except (KeyError, ValueError, IndexError) as e:
            raise DamagedIndexError(
                f"{path} is damaged ({e}); restore it or build the index again"
            ) from None
        return segment

    @classmethod
    def _from_arrays(cls, arrays: Mapping[str, np.ndarray], vectors: np.ndarray) -> "Segment":
        starts = arrays["starts"]
        blocks = np.diff(starts)
        _require(bool((blocks >= 0).all()), "cell starts fall")
        cells = Cells(
            centroids=arrays["centroids"],
            starts=starts,
            counts=arrays["counts"],
            owners=np.repeat(np.arange(len(blocks), dtype=np.int32), blocks),
            rows=arrays["rows"],
            scale=arrays["scale"],
            head=arrays["head"],
            tail=arrays["tail"],
            sigma=arrays["sigma"],
        )
        codec = Codec(arrays["sigma"], arrays["words"], arrays["coefficients"])
        return cls(cells, codec, arrays["rotation"], vectors)

    def locate(
        self, queries: Float32[np.ndarray, "q dim"]
    ) -> tuple[Float32[np.ndarray, "q dim"], Float32[np.ndarray, "q cells"]]:
        """The rotated queries and their inner products with all centroids.

        Query by query: BLAS adds up in another order for another number of queries, and an answer
        must not depend on the batch it is in.
        """
        rotated = np.empty_like(queries)
        scores = np.empty((len(queries), len(self.cells.centroids)), np.float32)
        width = self.cells.centroids.shape[1]
        for query, turned, score in zip(queries, rotated, scores, strict=True):
            np.dot(query, self.rotation, out=turned)
            np.dot(self.cells.centroids, turned[:width], out=score)
        return rotated, scores

    @property
    def hot_bytes(self) -> int:
        """Bytes that searches read again and again: cells and codes."""
        arrays = self.cells
        return sum(array.nbytes for array in arrays)


def _check_structure(cells: Cells, codec: Codec, rows: int) -> None:
    blocks, places = len(cells.head), len(cells.rows)
    count, width = cells.centroids.shape
    _require(cells.starts.shape == (count + 1,), "it has other cell starts than centroids")
    _require(cells.starts[0] == 0 and cells.starts[-1] == blocks, "cells and blocks disagree")
    _require(places == LANES * blocks == len(cells.scale) == len(cells.tail), "blocks are cut off")
    room = LANES * np.diff(cells.starts)
    _require(bool(((cells.counts >= 0) & (cells.counts <= room)).all()), "a cell is overfull")
    _require(cells.counts.sum() == rows, "it holds another number of rows than the vectors file")
    _require(places == 0 or -1 <= cells.rows.min() <= cells.rows.max() < rows, "a row is unknown")
    _require(bool((np.isfinite(cells.scale) == (cells.rows >= 0)).all()), "a scale is damaged")
    _require(1 <= width <= codec.dim, "its centroids are wider than its vectors")
    _require(cells.head.shape[1] == len(codec.head), "its head has other words than its codec")
    _require(cells.tail.shape[1] == len(codec.tail), "its tail has other words than its codec")
    _require(bool((codec.words[:, 0] * GROUP < codec.dim).all()), "a word lies beyond the vectors")


def _require(holds: bool | np.bool_, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
