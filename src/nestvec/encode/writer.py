"""Encoding of a large corpus into a `.npy` file, which can be interrupted and resumed."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from nestvec.encode.encoder import Encoder, ModelInfo, check_texts, encode_side
from nestvec.encode.prompts import Side
from nestvec.errors import BadTextError, DataError, EncodeError, InputError
from nestvec.json_text import parse_json
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32

_logger = logging.getLogger(__name__)

OnBadText = Literal["fail", "skip", "blank"]
"""Treatment of a text that the model refuses: an error, no row, or a row of zeros."""

_BLOCK_ROWS = 65_536


def encode_to_file(
    encoder: Encoder,
    texts: Sequence[str],
    path: str | Path,
    *,
    side: Side = "document",
    on_bad_text: OnBadText = "fail",
    chunk_rows: int = 1024,
    progress: Progress = silent,
) -> Mapping[int, str]:
    """Write the unit rows of `texts` to `path` as float32 [n, dim] `.npy`; row i is text i.

    Rows go to `path` + `.partial` with a record beside it, and only a complete file gets the name
    `path`. Another call after a crash resumes behind the last finished chunk of `chunk_rows`, also
    where texts behind that chunk have changed.

    A text that the model refuses raises `BadTextError`, and the next call resumes behind the rows
    before it. With `on_bad_text="blank"` it has a row of zeros, with "skip" it has no row, so that
    later rows move up. The result says why, by the position of each such text.

    Raises `DataError` if `path` exists, or if the unfinished file was begun with other texts or
    another model, or is damaged. One process at a time may write to one `path`.
    """
    path = check_output(path)
    if chunk_rows < 1:
        raise InputError(f"chunk_rows={chunk_rows} is below 1; use 1 or more")
    if on_bad_text not in ("fail", "skip", "blank"):
        raise InputError(f"on_bad_text={on_bad_text!r} is unknown; use fail, skip or blank")
    checked = check_texts(texts)
    partial = _Partial(path, encoder.info, checked, side)
    partial.resume(on_bad_text)
    with progress("Encoding", len(checked)) as advance, partial.open() as file:
        advance(partial.done)
        while partial.done < len(checked):
            chunk = checked[partial.done : partial.done + chunk_rows]
            try:
                rows = _encode_chunk(encoder, chunk, partial.done, side)
            except BadTextError as e:
                if on_bad_text == "fail" or e.rows is None:
                    partial.append(file, _rows_before(e, partial.done, len(chunk)))
                    raise
                rows = e.rows
                partial.blanks.update(e.reasons)
            except (EncodeError, KeyboardInterrupt) as e:
                rows_before = getattr(e, "rows_before", None)
                if rows_before is not None:
                    partial.append(file, rows_before)
                raise
            partial.append(file, rows)
            advance(len(chunk))
    partial.finish(skip=on_bad_text == "skip")
    return partial.blanks


def adopt_unfinished(
    path: Path, others: Iterable[Path], encoder: Encoder, texts: Sequence[str], side: Side
) -> None:
    """Give an unfinished file the name of `path`, if its finished rows are of the first texts.

    `others` are unfinished files (`.partial`) under the names of other texts: the correction of a
    text must not cost the rows before it. Files with rows of zeros are not used.
    """
    if path.with_name(f"{path.name}.partial").exists():
        return
    for unfinished in sorted(others):
        record = unfinished.with_name(f"{unfinished.name}.json")
        try:
            state = parse_json(record.read_text(encoding="utf-8"))
            done, digest = int(state["done"]), str(state["done_sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        same_model = state.get("model") == _facts(encoder.info, side)
        same_texts = digest == _digest_of(hashlib.sha256(), texts[:done]).hexdigest()
        if same_model and same_texts and 0 < done <= len(texts) and not state.get("blanks"):
            # The rows before their record: without one they are refused, never misread.
            unfinished.replace(path.with_name(f"{path.name}.partial"))
            record.replace(path.with_name(f"{path.name}.partial.json"))
            return


def _facts(model: ModelInfo, side: Side) -> dict[str, Any]:
    """The facts of a model that rows depend on, with the side where it makes a difference."""
    return model.to_json() if model.prompts is None else {**model.to_json(), "side": side}


def check_output(path: str | Path) -> Path:
    """Check the path of a new `.npy` file; `InputError` or, if it exists, `DataError`."""
    path = Path(path)
    if path.suffix != ".npy":
        raise InputError(f"'{path}' does not end in .npy, the format written; rename it")
    if path.exists():
        raise DataError(f"'{path}' exists already; remove it or choose another name")
    return path


def _rows_before(error: BadTextError, start: int, n: int) -> Float32[np.ndarray, "n dim"]:
    """Select the rows before the first bad text of a chunk of `n` that begins at `start`."""
    has_rows = error.rows is not None and len(error.rows) == n
    rows: Float32[np.ndarray, "n dim"] = error.rows if has_rows else np.empty((0, 1), np.float32)
    return rows[: min(error.reasons, default=start) - start]


class _Partial:
    """The unfinished file `PATH.partial`, and `PATH.partial.json`: its record and finished rows.

    It is resumed only by the same model and side, with the same texts of the finished rows. Texts
    behind these may differ, so that the correction of a text costs none of the rows before it.
    """

    def __init__(self, target: Path, model: ModelInfo, texts: list[str], side: Side) -> None:
        self.data = target.with_name(f"{target.name}.partial")
        self.state_path = target.with_name(f"{target.name}.partial.json")
        self.done = 0
        self.blanks: dict[int, str] = {}
        self._target = target
        self._texts = texts
        self._dim = model.dim
        self._digest = hashlib.sha256()
        facts = _facts(model, side)
        total = _digest_of(hashlib.sha256(), texts)
        self._record = {"model": facts, "rows": len(texts), "texts_sha256": total.hexdigest()}

    def resume(self, on_bad_text: str) -> None:
        """Resume behind the finished rows, if there are any; `DataError` if they do not fit."""
        if not self.data.exists():
            return
        state, done = self._read()
        way_out = f"remove '{self.data}' to start again"
        _digest_of(self._digest, self._texts[:done])
        self._check_same(state, way_out)
        too_short = done > 0 and self.data.stat().st_size < self._offset(done)
        if too_short or not 0 <= done <= len(self._texts):
            raise DataError(f"'{self.data}' is shorter than its record says; {way_out}")
        self.blanks = {int(row): str(reason) for row, reason in state.get("blanks", {}).items()}
        if self.blanks and on_bad_text == "fail":
            raise DataError(
                f"'{self.data}' has rows of zeros for {len(self.blanks)} texts that the model "
                f"refused; go on with on_bad_text='skip' or 'blank', or {way_out}"
            )
        self.done = done

    def _read(self) -> tuple[dict[str, Any], int]:
        """Read the record and the number of finished rows."""
        try:
            state = parse_json(self.state_path.read_text(encoding="utf-8"))
            return state, int(state.pop("done"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise DataError(
                f"'{self.data}' has no readable record '{self.state_path.name}'; remove "
                f"'{self.data}' to start again"
            ) from e

    def _check_same(self, state: Mapping[str, Any], way_out: str) -> None:
        different = [name for name, fact in self._record.items() if state.get(name) != fact]
        if state.get("done_sha256") == self._digest.hexdigest():
            if different and "model" not in different:
                _logger.warning(
                    "the rows in '%s' are kept; texts behind them have changed", self.data
                )
            different = [name for name in different if name == "model"]
        if different:
            raise DataError(
                f"'{self.data}' was begun with other {' and '.join(different)}; "
                f"give what it was begun with, or {way_out}"
            )

    def open(self) -> BinaryIO:
        """Open the file at its end, truncated behind its finished rows."""
        if self.done == 0:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            # The record first, because a file of rows without one could not be resumed.
            self._note()
            self.data.write_bytes(self._header())
        file = self.data.open("r+b")
        file.write(self._header())  # of the same length whatever the number of rows
        file.truncate(self._offset(self.done))
        file.seek(0, os.SEEK_END)
        return file

    def append(self, file: BinaryIO, rows: Float32[np.ndarray, "n dim"]) -> None:
        """Write finished rows, and after that their number."""
        file.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        # The record may claim only what the disk has, even if the power fails between the two.
        file.flush()
        os.fsync(file.fileno())
        _digest_of(self._digest, self._texts[self.done : self.done + len(rows)])
        self.done += len(rows)
        self._note()

    def finish(self, *, skip: bool) -> None:
        """Give the complete file its name; with `skip`, without the rows of zeros."""
        if skip and self.blanks:
            fresh = self.data.with_suffix(".new")
            self._write_without_blanks(fresh)
            fresh.replace(self._target)
            self.data.unlink()
        else:
            self.data.replace(self._target)
        self.state_path.unlink()

    def _write_without_blanks(self, path: Path) -> None:
        shape = (len(self._texts), self._dim)
        rows = np.memmap(self.data, "<f4", "r", self._offset(0), shape)
        mask = np.ones(len(rows), bool)
        mask[list(self.blanks)] = False
        with path.open("wb") as file:
            file.write(self._header(int(mask.sum())))
            for start in range(0, len(rows), _BLOCK_ROWS):
                block = slice(start, start + _BLOCK_ROWS)
                file.write(rows[block][mask[block]].tobytes())
            file.flush()
            os.fsync(file.fileno())

    def _note(self) -> None:
        fresh = self.state_path.with_suffix(".new")
        state = {"done": self.done, "done_sha256": self._digest.hexdigest()}
        if self.blanks:
            state["blanks"] = self.blanks
        fresh.write_text(json.dumps({**self._record, **state}), encoding="utf-8")
        fresh.replace(self.state_path)

    def _header(self, rows: int | None = None) -> bytes:
        buffer = BytesIO()
        shape = (len(self._texts) if rows is None else rows, self._dim)
        layout = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(buffer, layout)
        return buffer.getvalue()

    def _offset(self, done: int) -> int:
        return len(self._header()) + done * self._dim * 4


def _encode_chunk(
    encoder: Encoder, chunk: list[str], start: int, side: Side
) -> Float32[np.ndarray, "n dim"]:
    # The encoder counts from the start of the chunk.
    place = f"in the chunk that begins at text {start}"
    try:
        rows = encode_side(encoder, side, chunk)
    except BadTextError as e:
        reasons = {start + position: reason for position, reason in e.reasons.items()}
        raise BadTextError(f"{place}: {e}", reasons, e.rows) from e
    except EncodeError as e:
        error = EncodeError(f"{place}: {e}")
        error.rows_before = e.rows_before
        raise error from e
    due = (len(chunk), encoder.info.dim)
    if rows.shape != due:
        raise EncodeError(f"{encoder.info.name} gave shape {rows.shape} where {due} is due")
    return rows


def _digest_of(digest: "hashlib._Hash", texts: Sequence[str]) -> "hashlib._Hash":
    """Add texts to a digest, and return it."""
    for text in texts:
        # The length keeps ["ab", "c"] apart from ["a", "bc"].
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest
