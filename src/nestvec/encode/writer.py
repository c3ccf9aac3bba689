"""Encoding a large corpus into a `.npy` file, in a way that survives being stopped."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nestvec.encode.encoder import Encoder, ModelInfo, check_texts
from nestvec.errors import DataError, EncodeError, InputError
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32


def encode_to_file(
    encoder: Encoder,
    texts: Sequence[str],
    path: str | Path,
    *,
    chunk_rows: int = 1024,
    progress: Progress = silent,
) -> None:
    """Write the unit rows of `texts` to `path` as float32 [n, dim] `.npy`; row i is text i.

    Rows go to `path` + `.partial` with a record beside it, and only a complete file gets the name
    `path`. Called again after a crash, it goes on behind the last finished chunk of `chunk_rows`.
    Raises `DataError` if `path` exists, or if the unfinished file was begun with other texts or
    another model, or is damaged. One process at a time may write to one `path`.
    """
    path = Path(path)
    if path.suffix != ".npy":
        raise InputError(f"'{path}' does not end in .npy, the format written; rename it")
    if chunk_rows < 1:
        raise InputError(f"chunk_rows={chunk_rows} is below 1; use 1 or more")
    if path.exists():
        raise DataError(f"'{path}' exists already; remove it or choose another name")
    texts = check_texts(texts)
    partial = _Partial(path, _Record(encoder.info, len(texts), _digest(texts)))
    done = partial.rows_done()
    with progress("Encoding", len(texts)) as advance, partial.open(done) as file:
        advance(done)
        for start in range(done, len(texts), chunk_rows):
            chunk = texts[start : start + chunk_rows]
            partial.append(file, _encode_chunk(encoder, chunk, start), start)
            advance(len(chunk))
    partial.finish()


@dataclass(frozen=True, slots=True)
class _Record:
    """The work that an unfinished file is a part of: only the very same work may go on with it."""

    model: ModelInfo
    rows: int
    texts_sha256: str

    def to_json(self) -> dict[str, Any]:
        model = self.model.to_json()
        return {"model": model, "rows": self.rows, "texts_sha256": self.texts_sha256}


@dataclass(frozen=True, slots=True)
class _Partial:
    """The unfinished file `PATH.partial`, and `PATH.partial.json`: its record and finished rows."""

    target: Path
    record: _Record

    @property
    def data(self) -> Path:
        return self.target.with_name(f"{self.target.name}.partial")

    @property
    def journal(self) -> Path:
        return self.target.with_name(f"{self.target.name}.partial.json")

    def rows_done(self) -> int:
        """Finished rows to go on from: 0 for a fresh start, else `DataError` if they do not fit."""
        if not self.data.exists():
            return 0
        record = f"remove '{self.data}' to start again"
        try:
            journal = json.loads(self.journal.read_text(encoding="utf-8"))
            done = int(journal.pop("done"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise DataError(
                f"'{self.data}' has no readable record '{self.journal.name}'; {record}"
            ) from e
        expected = self.record.to_json()
        different = [name for name in expected if journal.get(name) != expected[name]]
        if different:
            raise DataError(
                f"'{self.data}' was begun with other {' and '.join(different)}; "
                f"give what it was begun with, or {record}"
            )
        too_short = done > 0 and self.data.stat().st_size < self._offset(done)
        if too_short or not 0 <= done <= self.record.rows:
            raise DataError(f"'{self.data}' is shorter than its record says; {record}")
        return done

    def open(self, done: int) -> BinaryIO:
        """The file, cut behind its finished rows, at its end."""
        if done == 0:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            # The record first: a file of rows without one could never be taken up again.
            self._note(0)
            self.data.write_bytes(self._header())
        file = self.data.open("r+b")
        file.truncate(self._offset(done))
        file.seek(0, os.SEEK_END)
        return file

    def append(self, file: BinaryIO, rows: Float32[np.ndarray, "n dim"], start: int) -> None:
        file.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        # The record may claim only what the disk has, even if the power fails between the two.
        file.flush()
        os.fsync(file.fileno())
        self._note(start + len(rows))

    def finish(self) -> None:
        self.data.replace(self.target)
        self.journal.unlink()

    def _note(self, done: int) -> None:
        fresh = self.journal.with_suffix(".new")
        fresh.write_text(json.dumps({**self.record.to_json(), "done": done}), encoding="utf-8")
        fresh.replace(self.journal)

    def _header(self) -> bytes:
        buffer = BytesIO()
        shape = (self.record.rows, self.record.model.dim)
        layout = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(buffer, layout)
        return buffer.getvalue()

    def _offset(self, done: int) -> int:
        return len(self._header()) + done * self.record.model.dim * 4


def _encode_chunk(encoder: Encoder, chunk: list[str], start: int) -> Float32[np.ndarray, "n dim"]:
    try:
        rows = encoder.encode(chunk)
    except EncodeError as e:
        # The encoder counts from the start of the chunk.
        raise EncodeError(f"in the chunk that begins at text {start}: {e}") from e
    due = (len(chunk), encoder.info.dim)
    if rows.shape != due:
        raise EncodeError(f"{encoder.info.name} gave shape {rows.shape} where {due} is due")
    return rows


def _digest(texts: list[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        # The length keeps ["ab", "c"] apart from ["a", "bc"].
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()
