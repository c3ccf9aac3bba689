"""Export of an index to one file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestvec.documents import Document
from nestvec.encode.row_files import BLOCK_ROWS, write_rows
from nestvec.index.snapshot import LiveSegment, Snapshot
from nestvec.shapes import Float32, Int64


def export(snapshot: Snapshot, path: Path, overwrite: bool) -> None:
    """Write the live rows of an index to a file, as `write_rows` does."""
    write_rows(SnapshotRows(snapshot), path, overwrite)


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotRows:
    """The live rows of an index, in order of insertion: a `RowReader`."""

    snapshot: Snapshot

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows, and their width."""
        return len(self.snapshot), self.snapshot.dim

    @property
    def transformed_by(self) -> str | None:
        """The fingerprint of the index's transform."""
        transform = self.snapshot.transform
        return None if transform is None else transform.fingerprint

    def ids(self) -> np.ndarray:
        """Return the id of each row."""
        ids: np.ndarray = self.snapshot.ids()
        return ids

    def documents(self) -> Iterator[list[Document]]:
        """Iterate ids, texts and metadata."""
        for part, rows in self._blocks():
            yield self.snapshot.documents(part.rows.numbers[rows])

    def vectors(self) -> Iterator[Float32[np.ndarray, "n dim"]]:
        """Iterate vectors."""
        for part, rows in self._blocks():
            yield part.rows.vectors[rows]

    def _blocks(self) -> Iterator[tuple[LiveSegment, Int64[np.ndarray, " n"]]]:
        for part in self.snapshot.parts:
            mask = part.live_mask
            live = np.arange(len(part.rows)) if mask is None else np.flatnonzero(mask)
            for start in range(0, len(live), BLOCK_ROWS):
                yield part, live[start : start + BLOCK_ROWS]
