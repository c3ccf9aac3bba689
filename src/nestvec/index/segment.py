"""The coded cells of one immutable part of an index, memory-mapped beside its full vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestvec.codes import Codec
from nestvec.errors import DamagedIndexError
from nestvec.index.tensors import map_tensors
from nestvec.kernels.reference import GROUP, LANES, PARTS, Cells
from nestvec.shapes import Float32


def codes_name(segment: int) -> str:
    """The file of a segment's cells and codes."""
    return f"{segment:06}.codes.safetensors"


BULK = (
    "head", "spill_head", "words", "scale", "bias", "spill_scale", "spill_bias", "head_errors",
    "word_errors", "vectors",
)  # fmt: skip
"""Arrays that nothing is found through, so that no damage to them can lead a kernel astray."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Rows' codes in cells, and their full vectors."""

    cells: Cells
    codec: Codec
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
        blocks = np.diff(arrays["starts"])
        _require(bool((blocks >= 0).all()), "cell starts fall")
        owners = np.repeat(np.arange(len(blocks), dtype=np.int32), blocks)
        codec = Codec(arrays["sigma"], arrays["plane_words"], arrays["coefficients"])
        _require(4 * arrays["centroids"].shape[1] < codec.dim + 4, "its centroids are too wide")
        # Beyond what is coded, or in centroids, a query need not be rotated.
        width = max(codec.width, min(codec.dim, 4 * arrays["centroids"].shape[1]))
        derived = {"owners": owners, "sigma": codec.sigma[:width]}
        cells = Cells(*(derived[name] if name in derived else arrays[name] for name in Cells._fields))
        return cls(cells, codec, vectors)

    @property
    def hot_bytes(self) -> int:
        """Bytes that searches read again and again: cells and codes."""
        arrays = self.cells
        return sum(array.nbytes for array in arrays)


def _check_structure(cells: Cells, codec: Codec, rows: int) -> None:
    count = len(cells.steps)
    dim, words = codec.dim, len(codec.words)
    places, spilled = len(cells.rows), len(cells.spill_places)
    _require(cells.rotation.shape == (dim, dim), "its rotation has another size than its codec")
    _require(
        cells.centroids.shape[::2] == (-(-count // LANES), LANES) and cells.centroids.shape[3] == 4,
        "its centroids have another layout",
    )
    for name in ("priors", "spreads"):
        _require(getattr(cells, name).shape == (count,), f"it has other {name} than steps")
    _check_blocks(cells.starts, cells.counts, count, places)
    _check_blocks(cells.spill_starts, cells.spill_counts, count, spilled)
    _require(cells.counts.sum() == rows, "it holds another number of rows than the vectors file")
    _require(places == 0 or -1 <= cells.rows.min() <= cells.rows.max() < rows, "a row is unknown")
    _require(bool((np.isfinite(cells.scale) == (cells.rows >= 0)).all()), "a scale is damaged")
    _require(
        spilled == 0 or 0 <= cells.spill_places.min() <= cells.spill_places.max() < places,
        "a place is unknown",
    )
    _require(bool((cells.rows[cells.spill_places] >= 0).all()), "a row spilled from nowhere")
    blocks, spill_blocks, head = places // LANES, spilled // LANES, 8 * len(codec.head)
    shapes = {
        "head": (blocks, head, LANES),
        "spill_head": (spill_blocks, head, LANES),
        "words": (places, words),
        "scale": (places,),
        "spill_scale": (spilled,),
        "head_errors": (blocks, PARTS, LANES),
        "word_errors": (places, PARTS),
        "bias": (places if len(cells.bias) else 0,),
        "spill_bias": (spilled if len(cells.bias) else 0,),
    }
    for name, shape in shapes.items():
        _require(getattr(cells, name).shape == shape, f"its {name} has another shape than it must")
    _require(bool((codec.words[:, 0] * GROUP < dim).all()), "a word lies beyond the vectors")


def _check_blocks(starts: np.ndarray, counts: np.ndarray, cells: int, places: int) -> None:
    _require(starts.shape == (cells + 1,), "it has other cell starts than centroids")
    _require(counts.shape == (cells,), "it has other cell counts than centroids")
    blocks = np.diff(starts)
    _require(bool((blocks >= 0).all()), "cell starts fall")
    _require(starts[0] == 0 and LANES * starts[-1] == places, "cells and blocks disagree")
    _require(bool(((counts >= 0) & (counts <= LANES * blocks)).all()), "a cell is overfull")


def _require(holds: bool | np.bool_, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
