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
    other_queries: Mapping[str, InputRows]
    """Perturbed and out-of-distribution queries by these names, where there are files of them."""
    encoder: "Encoder | None"
    """The encoder of the texts; None where there are no texts."""

    @classmethod
    def load(
        cls, files: CorpusAndQueries, other_queries: Mapping[str, Path | None]
    ) -> "AuditFiles":
        """Load the files; `other_queries` are paths by the names of `other_queries`."""
        loaded = files.load_all(other_queries)
        assert loaded.queries is not None, "the command requires queries"
        return cls(loaded.documents, loaded.queries, loaded.more, loaded.encoder)

    @property
    def ids(self) -> list[Any]:
        """The ids of the documents."""
        return ids_of(self.documents)

    @property
    def query_ids(self) -> list[Any]:
        """The ids of the queries."""
        return ids_of(self.queries)

    def perturbed(self) -> dict[str, np.ndarray]:
        """Vectors of the perturbed queries, if any, by that name; `DataError` for other ids."""
        queries = self.other_queries.get("perturbed")
        if queries is None:
            return {}
        ids, rows = ids_of(queries), [*range(len(queries.vectors))]
        if ids not in (self.query_ids, rows):
            raise DataError(
                "the perturbed queries have other ids than the queries; pass the same queries in "
                "the same order"
            )
        return {"perturbed": queries.vectors}

    def out_of_distribution(self) -> dict[str, np.ndarray]:
        """Vectors of the out-of-distribution queries, if any, by that name."""
        queries = self.other_queries.get("out_of_distribution")
        return {} if queries is None else {"out_of_distribution": queries.vectors}

    def texts(self, counterfactuals: bool) -> "AuditTexts":
        """The texts of both sides; without `counterfactuals` no encoder, so that none is edited."""
        from nestvec.auditing import AuditTexts

        documents = self.documents.texts if isinstance(self.documents, InputRows) else None
        return AuditTexts(documents, self.queries.texts, self.encoder if counterfactuals else None)

    def edited_texts(self, has_judgments: bool) -> list[str]:
        """Name the texts that an audit edits and encodes; of documents only judged ones."""
        queries = self.queries.texts is not None
        documents = isinstance(self.documents, InputRows) and self.documents.texts is not None
        return [
            *(["queries with typing errors"] if queries else []),
            *(["documents with one detail made wrong"] if documents and has_judgments else []),
        ]

    def remove_encoded(self) -> None:
        """Remove the files that texts were encoded into."""
        remove_encoded(self.documents, self.queries, *self.other_queries.values())
