"""What `nestvec audit` is given: vectors, texts, and the model that made the one of the other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.cli.material import Material
from nestvec.cli.sides import Sides, forget, ids_of
from nestvec.errors import DataError
from nestvec.index import Index

if TYPE_CHECKING:
    from nestvec.auditing import AuditTexts
    from nestvec.encode import Encoder


@dataclass(frozen=True, slots=True, eq=False)
class Audited:
    """What the command is given, as vectors."""

    documents: Index | Material
    queries: Material
    disturbed: Mapping[str, Material]
    """The noisy and the strange queries, by the names of their options, where they are given."""
    encoder: "Encoder | None"
    """What encoded the texts among all this; None where there are none."""

    @classmethod
    def read(cls, sides: Sides, disturbed: Mapping[str, Path | None]) -> "Audited":
        """All of it, from files."""
        read = sides.read_all(disturbed)
        assert read.queries is not None, "the command requires queries"
        return cls(read.documents, read.queries, read.more, read.encoder)

    @property
    def ids(self) -> list[Any]:
        """Of the documents."""
        return ids_of(self.documents)

    @property
    def query_ids(self) -> list[Any]:
        """Of the queries."""
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

        documents = self.documents.texts if isinstance(self.documents, Material) else None
        return AuditTexts(documents, self.queries.texts, self.encoder if edits else None)

    def forget(self) -> None:
        """Vectors of texts are left where there is a folder for them, and only there."""
        forget(self.documents, self.queries, *self.disturbed.values())
