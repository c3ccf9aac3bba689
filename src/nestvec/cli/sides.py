"""A corpus and queries, as commands are given them: an index, texts, or vectors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestvec.cli.material import Given, Material, check_as_made, refuse
from nestvec.errors import DataError, InputError
from nestvec.index import Index
from nestvec.inputs import ARRAYS, file_format, names_field

if TYPE_CHECKING:
    from nestvec.encode import Encoder


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What a command was given, as vectors."""

    documents: Index | Material
    queries: Material | None
    more: Mapping[str, Material]
    """Other files of queries, by name."""
    encoder: "Encoder | None"
    """What encoded the texts among all this; None where there are none."""


@dataclass(frozen=True, slots=True)
class Sides:
    """What a command is given, and how texts among it become vectors."""

    corpus: Path
    queries: Path | None
    model: str | None
    base_url: str | None
    kept: Path | None
    """Where vectors of texts are kept, so that the next time need not encode them again."""
    key: str | None = None
    """The field of the vectors, in those of the files that have such a field."""
    text_column: list[str] | None = None
    """The columns of the texts, in those of the files that are texts."""

    def read(self) -> tuple[Index | Material, Material]:
        """Both sides; texts encoded by one model, that of the index if the corpus is one."""
        documents, queries = self.read_some()
        if queries is None:
            raise InputError("queries are needed here; give a file of texts or vectors")
        return documents, queries

    def read_some(self) -> tuple[Index | Material, Material | None]:
        """As `read`, where there may be no queries."""
        read = self.read_all({})
        return read.documents, read.queries

    def read_all(self, more: Mapping[str, Path | None]) -> Read:
        """As `read_some`, with `more` files of queries and what encoded the texts."""
        index = Index.open(self.corpus) if self.corpus.is_dir() else None
        files = [self.corpus, self.queries, *more.values()]
        self._check_key([path for path in files if path is not None and not path.is_dir()])

        @cache
        def encoder() -> "tuple[Encoder, dict[str, Any]]":
            return self._open(index)

        queries = None if self.queries is None else self._material(self.queries, encoder)
        documents = self._material(self.corpus, encoder) if index is None else index
        others = {
            name: self._material(path, encoder) for name, path in more.items() if path is not None
        }
        given = [(self.queries, queries), *((more[name], rows) for name, rows in others.items())]
        for path, asked in given:
            if path is not None and asked is not None:
                _check_same_kind(path, asked, documents)
        used = encoder.cache_info().currsize > 0
        if not used:
            options = {"--model": self.model, "--base-url": self.base_url}
            refuse("for vectors, which are not encoded again", options)
        return Read(documents, queries, others, encoder()[0] if used else None)

    def _check_key(self, files: list[Path]) -> None:
        key = self.key
        if key is not None and not any(names_field(path, key) for path in files):
            raise DataError(
                f"--key {key} is in none of {', '.join(map(str, files))}; name a field that holds "
                "vectors"
            )

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
        key = self.key if self.key is not None and names_field(path, self.key) else None
        text_column = None if file_format(path) in ARRAYS else self.text_column
        given = Given(path, None, key, text_column, None, None)
        return given.read(folder / path.name, lambda: None, encoder)


def _check_same_kind(path: Path, asked: Material, documents: Index | Material) -> None:
    """`InputError` for queries that went through another adapter than the documents did."""
    if isinstance(documents, Index):
        check_as_made(path, asked.adapted_by)
    elif asked.adapted_by != documents.adapted_by:
        one, other = (
            "no adapter" if by is None else f"the adapter {by[:12]}"
            for by in (asked.adapted_by, documents.adapted_by)
        )
        raise InputError(
            f"{path} went through {one}, and the corpus through {other}, by what their files say; "
            "give both as the model made them, or both as .safetensors of nestvec adapt apply"
        )


def ids_of(side: Index | Material) -> list[Any]:
    """The ids of the rows; their numbers where they have none."""
    if side.ids is None:
        return list(range(len(side.vectors)))
    return side.ids.tolist() if hasattr(side.ids, "tolist") else list(side.ids)


def forget(*sides: Index | Material | None) -> None:
    """Remove the vectors of texts, where there is no folder for them."""
    for side in sides:
        if isinstance(side, Material) and side.encoded is not None:
            side.encoded.unlink(missing_ok=True)  # both sides may be the same texts
