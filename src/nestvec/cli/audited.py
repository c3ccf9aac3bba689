"""What `nestvec audit` is given: files, and the vectors, texts and model that they hold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.cli.material import Given, Material, refuse
from nestvec.errors import DataError
from nestvec.index import Index

if TYPE_CHECKING:
    from nestvec.audit import Texts
    from nestvec.encode import Encoder


@dataclass(frozen=True, slots=True, eq=False)
class Audited:
    """What the command is given, as vectors."""

    documents: Index | Material
    queries: Material
    disturbed: dict[str, Material]
    """The noisy and the strange queries, by the names of their options, where they are given."""
    encoder: "Encoder | None"
    """What encoded the texts among all this; None where there are none."""

    @property
    def ids(self) -> list[Any]:
        """Of the documents."""
        return _ids(self.documents.ids, len(self.documents.vectors))

    @property
    def query_ids(self) -> list[Any]:
        """Of the queries."""
        return _ids(self.queries.ids, len(self.queries.vectors))

    def noisy(self) -> dict[str, np.ndarray]:
        """The noisy queries, if they are given, by that name; `DataError` for other ids."""
        found = self.disturbed.get("noisy")
        if found is None:
            return {}
        ids, rows = _ids(found.ids, len(found.vectors)), [*range(len(found.vectors))]
        if ids not in (self.query_ids, rows):
            raise DataError("the noisy queries have other ids than the queries; bring them in step")
        return {"noisy": found.vectors}

    def strangers(self) -> dict[str, np.ndarray]:
        """The strange queries, if they are given, by that name."""
        found = self.disturbed.get("strangers")
        return {} if found is None else {"strangers": found.vectors}

    def texts(self, edits: bool) -> "Texts":
        """The texts that there are; without `edits` no model, so that none is encoded anew."""
        from nestvec.audit import Texts

        documents = self.documents.texts if isinstance(self.documents, Material) else None
        return Texts(documents, self.queries.texts, self.encoder if edits else None)

    def forget(self) -> None:
        """Vectors of texts are left where there is a folder for them, and only there."""
        for side in (self.documents, self.queries, *self.disturbed.values()):
            if isinstance(side, Material) and side.encoded is not None:
                side.encoded.unlink()


@dataclass(frozen=True, slots=True)
class AuditFiles:
    """What the command is given, and how texts among it become vectors."""

    corpus: Path
    queries: Path
    disturbed: Mapping[str, Path | None]
    model: str | None
    base_url: str | None
    kept: Path | None
    """Where vectors of texts are kept, so that the next audit need not encode them again."""

    def read(self) -> Audited:
        """All of it; texts encoded by one model, that of the index if the corpus is one."""
        index = Index.open(self.corpus) if self.corpus.is_dir() else None

        @cache
        def encoder() -> "tuple[Encoder, dict[str, Any]]":
            return self._open(index)

        queries = self._material(self.queries, encoder)
        documents = self._material(self.corpus, encoder) if index is None else index
        disturbed = {
            name: self._material(path, encoder)
            for name, path in self.disturbed.items()
            if path is not None
        }
        used = encoder.cache_info().currsize > 0
        if not used:
            given = {"--model": self.model, "--base-url": self.base_url}
            refuse("for vectors, which are not encoded again", given)
        return Audited(documents, queries, disturbed, encoder()[0] if used else None)

    def _open(self, index: Index | None) -> "tuple[Encoder, dict[str, Any]]":
        from nestvec.cli.model import DEFAULT, describe, open_for, open_model

        if index is None:
            opened = open_model(self.model or DEFAULT, self.base_url, None)
        else:
            opened = open_for(index, self.model, self.base_url)
        return opened, describe(opened, None)

    def _material(
        self, path: Path, encoder: Callable[[], "tuple[Encoder, dict[str, Any]]"]
    ) -> Material:
        folder = self.kept or path.parent
        folder.mkdir(parents=True, exist_ok=True)
        given = Given(path, None, None, None, None, None)
        return given.read(folder / path.name, None, lambda: None, encoder)


def _ids(ids: Any, n: int) -> list[Any]:
    return list(range(n)) if ids is None else [*(ids.tolist() if hasattr(ids, "tolist") else ids)]
