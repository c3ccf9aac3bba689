"""The rows of a segment in one file: row numbers, ids and vectors, as the index stores them.

All other files of a segment are computed from this one, and can be computed again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestvec.errors import DamagedIndexError
from nestvec.index.storage.ids import Ids
from nestvec.index.storage.tensor_file import Layout, TensorWriter, map_tensors
from nestvec.shapes import Bool, Float, Float32, Int64
from nestvec.transforms.base import Transform
from nestvec.vectors import BLOCK_ROWS, check_finite, check_magnitude


def vectors_name(segment: int) -> str:
    """Name the file of a segment's rows."""
    return f"{segment:06}.vectors.safetensors"


@dataclass(frozen=True, eq=False)
class SegmentRows:
    """Rows in order of their numbers, which count insertions and are never used again."""

    numbers: Int64[np.ndarray, " n"]
    ids: Ids
    vectors: Float[np.ndarray, "n dim"]

    @classmethod
    def open(cls, path: Path) -> "SegmentRows":
        """Map the file, and check its ids and row numbers."""
        arrays = map_tensors(path)
        try:
            rows = cls(arrays["row_numbers"], Ids.from_arrays(arrays), arrays["vectors"])
            if not len(rows.numbers) == len(rows.ids) == len(rows.vectors):
                raise ValueError("it has other numbers of ids than of vectors")
            if (np.diff(rows.numbers) <= 0).any():
                raise ValueError("its row numbers do not rise")
        except (KeyError, ValueError) as e:
            raise DamagedIndexError(
                f"{path} is damaged ({e}); restore it or build the index again"
            ) from None
        return rows

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, eq=False)
class RowSource:
    """The source of rows for a new segment: the rows of a mask, or all of them.

    With a `transform` the vectors go through it, block by block.
    """

    rows: SegmentRows
    mask: Bool[np.ndarray, " n"] | None = None
    transform: Transform | None = None

    def __len__(self) -> int:
        return len(self.rows) if self.mask is None else int(self.mask.sum())

    def blocks(self) -> Iterator[Float[np.ndarray, "m dim"]]:
        """Yield the vectors in blocks of some ten thousand rows, checked and transformed."""
        vectors = self.rows.vectors
        for first in range(0, len(vectors), BLOCK_ROWS):
            part = slice(first, first + BLOCK_ROWS)
            block = vectors[part] if self.mask is None else vectors[part][self.mask[part]]
            check_finite(block, "vectors", first)
            check_magnitude(block, "vectors", first)
            yield block if self.transform is None else self.transform.transform(block)

    @property
    def dim(self) -> int:
        """Width of the blocks."""
        width = int(self.rows.vectors.shape[1])
        return width if self.transform is None else self.transform.width

    def numbers(self) -> Int64[np.ndarray, " m"]:
        """Return the numbers of the rows in the mask."""
        numbers = self.rows.numbers
        return numbers if self.mask is None else numbers[self.mask]

    def ids(self) -> Ids:
        """Return the ids of the rows in the mask."""
        return self.rows.ids if self.mask is None else self.rows.ids.keep(self.mask)


@contextmanager
def rows_writer(path: Path, sources: Sequence[RowSource]) -> Iterator[Float32[np.ndarray, "n dim"]]:
    """Create the file of rows from `sources`; the caller fills in the vectors."""
    numbers = np.concatenate([source.numbers() for source in sources])
    ids = Ids.join([source.ids() for source in sources])
    dim = sources[0].dim
    structure = {"row_numbers": numbers, **ids.arrays()}
    layout: Layout = {
        "vectors": (np.dtype(np.float32), (len(numbers), dim)),
        # What follows is 8 bytes wide and is to be aligned.
        "padding": (np.dtype(np.float32), (len(numbers) * dim % 2,)),
        **{name: (array.dtype, array.shape) for name, array in structure.items()},
    }
    with TensorWriter(path, layout) as writer:
        for name, array in structure.items():
            writer.arrays[name][...] = array
        writer.arrays["padding"][...] = 0
        yield writer.arrays["vectors"]


def copy_blocks(
    sources: Sequence[RowSource], stored: Float32[np.ndarray, "n dim"]
) -> Iterator[Float32[np.ndarray, "m dim"]]:
    """Fill `stored` from the sources, block by block; each block is yielded when it is stored."""
    first = 0
    for source in sources:
        for block in source.blocks():
            target = stored[first : first + len(block)]
            target[...] = block
            yield target
            first += len(block)
