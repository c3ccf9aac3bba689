"""A corpus and its queries from files: an index, texts that are encoded, or vectors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestvec.collections.encoders import (
    EncoderChoice,
    model_record,
    open_for_queries,
    tell_query_prompt,
)
from nestvec.collections.input_rows import (
    InputFile,
    InputRows,
    check_not_transformed,
    reject_unused,
)
from nestvec.encode.prompts import Side
from nestvec.errors import DataError, InputError
from nestvec.index import Index
from nestvec.index.storage.target import holds_index
from nestvec.inputs import ARRAYS, file_format, names_field
from nestvec.inputs.column_roles import ColumnChoice
from nestvec.progress import Progress, silent

if TYPE_CHECKING:
    from nestvec.encode import Encoder


@dataclass(frozen=True, slots=True, eq=False)
class LoadedFiles:
    """The vectors of a corpus and of files of queries, with the encoder of their texts."""

    documents: Index | InputRows
    queries: InputRows | None
    more: Mapping[str, InputRows]
    """Further files of queries, by name."""
    encoder: "Encoder | None"
    """The encoder of the texts; None where there are no texts."""


@dataclass(frozen=True, slots=True)
class CorpusAndQueries:
    """Files of a corpus and its queries, and the options to load them by."""

    corpus: Path
    queries: Path | None
    encoder: EncoderChoice
    """The encoder of texts, where it is not the one that an index records."""
    cache_folder: Path | None
    """The folder for the vectors of texts, so that the next time need not encode them again."""
    progress: Progress = silent
    key: str | None = None
    """The field of the vectors, in those of the files that have such a field."""
    text_column: list[str] | None = None
    """The columns of the texts, in those of the files that are texts."""

    def load(self) -> tuple[Index | InputRows, InputRows]:
        """Load corpus and queries; one model encodes all texts, the index's if there is one."""
        documents, queries = self.load_optional()
        if queries is None:
            raise InputError("queries are needed here; pass a file of texts or vectors")
        return documents, queries

    def load_optional(self) -> tuple[Index | InputRows, InputRows | None]:
        """Load corpus and queries, where there may be no queries."""
        read = self.load_all({})
        return read.documents, read.queries

    def load_all(self, extra_queries: Mapping[str, Path | None]) -> LoadedFiles:
        """Load everything, with further files of queries by name, and the encoder of the texts."""
        index = Index.open(self.corpus) if holds_index(self.corpus) else None
        files = [self.corpus, self.queries, *extra_queries.values()]
        self._check_key([path for path in files if path is not None and not holds_index(path)])

        @cache
        def encoder() -> "tuple[Encoder, dict[str, Any]]":
            return self._open(index)

        queries = None if self.queries is None else self._read(self.queries, "query", encoder)
        documents = self._read(self.corpus, "document", encoder) if index is None else index
        others = {
            name: self._read(path, "query", encoder)
            for name, path in extra_queries.items()
            if path is not None
        }
        loaded = [
            (self.queries, queries),
            *((extra_queries[name], rows) for name, rows in others.items()),
        ]
        for path, rows in loaded:
            if path is not None and rows is not None:
                _check_same_kind(path, rows, documents)
                if index is not None and rows.encoded is None:
                    tell_query_prompt(index, path)
        used = encoder.cache_info().currsize > 0
        if not used:
            options = {"--model": self.encoder.name, "--base-url": self.encoder.base_url}
            reject_unused("for vectors, which are not encoded again", options)
        return LoadedFiles(documents, queries, others, encoder()[0] if used else None)

    def _check_key(self, files: list[Path]) -> None:
        key = self.key
        if key is not None and not any(names_field(path, key) for path in files):
            raise DataError(
                f"--key {key} is in none of {', '.join(map(str, files))}; name a field that holds "
                "vectors"
            )

    def _open(self, index: Index | None) -> "tuple[Encoder, dict[str, Any]]":
        choice = self.encoder
        opened = choice.open() if index is None else open_for_queries(index, choice)
        return opened, model_record(opened)

    def _read(
        self, path: Path, side: Side, encoder: Callable[[], "tuple[Encoder, dict[str, Any]]"]
    ) -> InputRows:
        """Read a file of vectors, or of texts that are encoded on one side."""
        folder = self.cache_folder or path.parent
        folder.mkdir(parents=True, exist_ok=True)
        key = self.key if self.key is not None and names_field(path, self.key) else None
        text_column = None if file_format(path) in ARRAYS else self.text_column
        input_file = InputFile(path, None, key, ColumnChoice(text_column), None, side)
        return input_file.load(folder / path.name, lambda: None, encoder, self.progress)


def _check_same_kind(path: Path, queries: InputRows, documents: Index | InputRows) -> None:
    """Raise `InputError` for queries that went through another transform than the documents."""
    if isinstance(documents, Index):
        check_not_transformed(path, queries.adapted_by)
    elif queries.adapted_by != documents.adapted_by:
        queries_by, documents_by = (
            "no transform" if fingerprint is None else f"the transform {fingerprint[:12]}"
            for fingerprint in (queries.adapted_by, documents.adapted_by)
        )
        raise InputError(
            f"{path} went through {queries_by}, and the corpus through {documents_by}, by what "
            "their files say; pass both as the model made them, or both as .safetensors of nestvec "
            "adapt apply"
        )


def ids_of(rows: Index | InputRows) -> list[Any]:
    """Return the ids of the rows; their numbers where they have none."""
    if rows.ids is None:
        return list(range(len(rows.vectors)))
    return rows.ids.tolist() if hasattr(rows.ids, "tolist") else list(rows.ids)


def remove_encoded(*loaded: Index | InputRows | None) -> None:
    """Remove the files that texts were encoded into."""
    for rows in loaded:
        if isinstance(rows, InputRows) and rows.encoded is not None:
            rows.encoded.unlink(missing_ok=True)  # corpus and queries may be the same texts
