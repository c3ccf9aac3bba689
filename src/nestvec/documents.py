"""The text and metadata stored beside each vector, under its id."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Id = int | str


@dataclass(frozen=True, slots=True)
class Document:
    """The id of a row, with the text and the metadata that are stored beside its vector."""

    id: Id
    text: str | None
    metadata: Mapping[str, Any] | None
