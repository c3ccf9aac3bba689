"""Inputs of an audit from files: vectors, texts, and the encoder of the texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.collections.corpus_and_queries import CorpusAndQueries, ids_of, remove_encoded
from nestvec.collections.input_rows import InputRows
from nestvec.errors import DataError
from nestvec.index import Index

if TYPE_CHECKING:
    from nestvec.auditing import AuditTexts
    from nestvec.encode import Encoder


@dataclass(frozen=True, slots=True, eq=False)
class AuditFiles:
    """A corpus with its queries and further files of queries, loaded for an audit."""

    documents: Index | InputRows
    queries: InputRows
    disturbed: Mapping[str, InputRows]
    """The noisy and the strange queries, by the names of their options, where they are given."""
    encoder: "Encoder | None"
    """The encoder of the texts; None where there are no texts."""

    @classmethod
    def read(cls, sides: CorpusAndQueries, disturbed: Mapping[str, Path | None]) -> "AuditFiles":
        """Load everything from files."""
        read = sides.load_all(disturbed)
        assert read.queries is not None, "the command requires queries"
        return cls(read.documents, read.queries, read.more, read.encoder)

    @property
    def ids(self) -> list[Any]:
        """The ids of the documents."""
        return ids_of(self.documents)

    @property
    def query_ids(self) -> list[Any]:
        """The ids of the queries."""
        return ids_of(self.queries)

    def noisy(self) -> dict[str, np.ndarray]:
        """The noisy queries, if they are given, by that name; `DataError` for other ids."""
        found = self.disturbed.get("noisy")
        if found is None:
            return {}
        ids, rows = ids_of(found), [*range(len(found.vectors))]
        if ids not in (self.query_ids, rows):
            raise DataError("the noisy queries have other ids than the queries; bring them in step")
        return {"noisy": found.vectors}

    def strangers(self) -> dict[str, np.ndarray]:
        """The strange queries, if they are given, by that name."""
        found = self.disturbed.get("strangers")
        return {} if found is None else {"strangers": found.vectors}

    def texts(self, edits: bool) -> "AuditTexts":
        """The texts that there are; without `edits` no model, so that none is encoded anew."""
        from nestvec.auditing import AuditTexts

        documents = self.documents.texts if isinstance(self.documents, InputRows) else None
        return AuditTexts(documents, self.queries.texts, self.encoder if edits else None)

    def forget(self) -> None:
        """Remove the files that texts were encoded into."""
        remove_encoded(self.documents, self.queries, *self.disturbed.values())
