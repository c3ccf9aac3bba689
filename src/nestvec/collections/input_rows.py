"""Rows for an index from files: vectors, or texts that are encoded first."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.collections.bad_texts import name_in_file, tell_blanks
from nestvec.collections.encoders import encode_beside
from nestvec.data import Columns, Corpus, read_columns_beside, read_corpus
from nestvec.encode.encoder import check_texts
from nestvec.encode.prompts import Side
from nestvec.encode.writer import OnBadText
from nestvec.errors import BadTextError, DataError, InputError
from nestvec.inputs import ARRAYS, COLUMNAR, file_format, holds_vectors
from nestvec.inputs.column_roles import USUAL_COLUMNS, ColumnChoice, ColumnRoles
from nestvec.progress import Progress
from nestvec.shapes import Float

_logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from nestvec.encode import Encoder


@dataclass(frozen=True, slots=True, eq=False)
class InputRows:
    """Rows for an index: vectors with ids, texts, metadata and the record of their model."""

    vectors: Float[np.ndarray, "n dim"]
    ids: Sequence[Any] | np.ndarray | None
    texts: Sequence[str] | None
    metadata: Sequence[Mapping[str, Any]] | None
    model: Mapping[str, Any] | None
    encoded: Path | None = None
    """The file of vectors that texts were encoded into, to be removed once they are stored."""
    adapted_by: str | None = None
    """The fingerprint of the transform that the vectors went through, if their file names one."""
    roles: ColumnRoles | None = None
    """The columns that all this came from; None where the file has no columns."""
    is_whole_file: bool = True
    """False where `encoded` has more rows: those of texts that were skipped."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """An input file of texts or vectors, and the options to read it by."""

    data: Path
    texts: Path | None
    key: str | None
    columns: ColumnChoice
    """The columns that the user named."""
    limit: int | None
    side: Side = "document"
    """The side that the texts are encoded as."""
    on_bad_text: OnBadText = "fail"
    dims: int | None = None
    """The prefix that vectors of the file are truncated to; texts are encoded to it."""
    check: Callable[[Corpus], None] | None = None
    """Checks the rows before their texts are encoded."""
    recorded: Mapping[str, Any] | None = None
    """The columns that an index records of its rows, which are read where the user named none."""
    packed_bits: bool = False
    """True for vectors of bits, packed eight to a byte."""

    def load(
        self,
        target: Path,
        vector_model: Callable[[], dict[str, Any] | None],
        open_encoder: Callable[[], tuple["Encoder", dict[str, Any]]],
        progress: Progress,
    ) -> InputRows:
        """Load the rows; texts are encoded into a file beside `target`, the index to come.

        `vector_model` returns the record of the model of a file of vectors.
        """
        columns = self.columns.completed(self.recorded)
        beside_vectors = None if self.texts else self.columns.text
        if not holds_vectors(self.data, self.key, beside_vectors):
            reject_unused(
                f"for the texts in {self.data}; it is for vectors",
                {"--texts": self.texts, "--packed-bits": self.packed_bits},
            )
            corpus = read_texts_to_encode(self.data, columns, self.limit)
            if self.check is not None:
                self.check(corpus)
            check_texts(corpus.texts)
            return self.encode(corpus, target, *open_encoder(), progress)
        format_ = file_format(self.data)
        if self.texts is None and format_ in ARRAYS and format_ not in COLUMNAR:
            named = {
                "--text-column": self.columns.text, "--id-column": self.columns.id,
                "--metadata-columns": self.columns.metadata,
            }  # fmt: skip
            reject_unused("without --texts", named)
        rows = self._from_vectors(columns, vector_model())
        return rows if self.dims is None else _truncated(rows, self.dims, target)

    def _from_vectors(self, columns: ColumnChoice, model: Mapping[str, Any] | None) -> InputRows:
        from nestvec.encode import read_vectors

        vector_file = read_vectors(self.data, self.key, packed_bits=self.packed_bits)
        vectors = vector_file.vectors[: self.limit]
        record = None if model is None else {**model, "dim": vectors.shape[1]}
        ids = None if vector_file.ids is None else vector_file.ids[: self.limit].tolist()
        texts: Sequence[str] | None
        if self.texts is None:
            beside = columns_beside(self.data, self.key, columns, self.limit)
            if ids is None or columns.id is not None:
                ids = beside.ids
            texts, metadata, roles = beside.texts, beside.metadata, beside.roles
        else:
            corpus = read_corpus(self.texts, columns, self.limit)
            ids = _matching_ids(ids, corpus, self.data, self.texts)
            texts, metadata, roles = corpus.texts, corpus.metadata, corpus.roles
        return InputRows(
            vectors, ids, texts, metadata, record, adapted_by=vector_file.adapted_by, roles=roles
        )

    def encode(
        self,
        corpus: Corpus,
        target: Path,
        encoder: "Encoder",
        record: dict[str, Any],
        progress: Progress,
    ) -> InputRows:
        """Encode texts into a file beside the index to come, resuming where an earlier run stopped.

        Rows of texts that the model refused are rows of zeros there.
        """
        from nestvec.encode import read_vectors

        blanks = self.on_bad_text != "fail"
        try:
            path, reasons = encode_beside(
                encoder, record, corpus.texts, target, progress, side=self.side, blanks=blanks
            )
        except BadTextError as e:
            raise name_in_file(e, self.data, corpus) from e
        skipped = self.on_bad_text == "skip"
        tell_blanks(reasons, self.data, corpus, skipped=skipped)
        vectors = read_vectors(path).vectors
        rows = InputRows(
            vectors, corpus.ids, corpus.texts, corpus.metadata, record, path, roles=corpus.roles
        )
        return _without(rows, list(reasons)) if skipped and reasons else rows


def _without(rows: InputRows, bad: Sequence[int]) -> InputRows:
    """All rows but some."""
    chosen = np.setdiff1d(np.arange(len(rows.vectors)), bad).tolist()

    def pick(values: Any) -> list[Any] | None:
        return None if values is None else [values[row] for row in chosen]

    return replace(
        rows, vectors=rows.vectors[chosen], ids=pick(rows.ids), texts=pick(rows.texts),
        metadata=pick(rows.metadata), is_whole_file=False,
    )  # fmt: skip


def _truncated(rows: InputRows, dims: int, target: Path) -> InputRows:
    """The rows with vectors of a prefix, in a file beside the index to come."""
    from nestvec.encode.truncation import truncate_to_file

    path = target.with_name(f"{target.name}.vectors-{dims}-{os.getpid()}.npy")
    truncate_to_file(rows.vectors, path, dims)
    model = None if rows.model is None else {**rows.model, "dim": dims, "dims": dims}
    return replace(rows, vectors=np.load(path, mmap_mode="r"), model=model, encoded=path)


def read_texts_to_encode(
    path: Path, columns: ColumnChoice = USUAL_COLUMNS, limit: int | None = None
) -> Corpus:
    """Read the texts of a file that are about to be encoded.

    `DataError` for texts that have vectors beside them, unless the user named the texts.
    """
    named = bool(columns.text) and not columns.is_recorded
    if named and holds_vectors(path):
        _logger.warning("the vectors in %s are not used: --text-column names texts", path)
    return read_corpus(path, columns, limit, refuse_vectors=not named)


def reject_unused(reason: str, options: Mapping[str, object]) -> None:
    """Raise `InputError` for options that would do nothing, by their names."""
    names = [name for name, value in options.items() if value]
    if names:
        raise InputError(f"{' and '.join(names)} given {reason}; leave it out")


def check_not_transformed(path: Path, adapted_by: str | None) -> None:
    """Raise `InputError` for vectors that a transform would map a second time."""
    if adapted_by is not None:
        raise InputError(
            f"{path} went through the transform {adapted_by[:12]} already; pass vectors as the "
            "model made them"
        )


def columns_beside(
    path: Path,
    key: str | None,
    columns: ColumnChoice = USUAL_COLUMNS,
    limit: int | None = None,
) -> Columns:
    """Read ids, texts and metadata of records with vectors; none for files of arrays alone."""
    format_ = file_format(path)
    if format_ in ARRAYS and format_ not in COLUMNAR:
        return Columns(None, None, None, None)
    return read_columns_beside(path, key, columns, limit)


def _matching_ids(ids: list[Any] | None, corpus: Corpus, path: Path, texts: Path) -> Sequence[Any]:
    """Return the ids of vectors and of their texts, which must agree where both have some."""
    if ids is None or ids == list(corpus.ids):
        return corpus.ids
    if corpus.ids == tuple(range(len(corpus))):  # row numbers: the texts have no ids
        return ids
    if len(ids) != len(corpus):
        raise DataError(
            f"{path} has {len(ids)} rows but {texts} has {len(corpus)}; give one text per vector"
        )
    row = next(i for i, (a, b) in enumerate(zip(ids, corpus.ids, strict=True)) if a != b)
    raise DataError(
        f"row {row} has id {ids[row]!r} in {path} but {corpus.ids[row]!r} in {texts}; "
        "bring both files into the same order"
    )
