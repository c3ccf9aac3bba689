"""Prompts: fixed texts that an encoder puts before each query or each document."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nestvec.errors import InputError

Side = Literal["query", "document"]
"""The side of a search that a text is on."""

SIDES: tuple[Side, ...] = ("query", "document")


@dataclass(frozen=True, slots=True)
class Prompts:
    """The text put before each query, and the one put before each document; "" for none."""

    query: str = ""
    document: str = ""

    def __post_init__(self) -> None:
        for side in SIDES:
            if not isinstance(getattr(self, side), str):
                raise InputError(
                    f"the {side} prompt {getattr(self, side)!r} is not a text; pass one, or ''"
                )

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Prompts":
        """Read prompts that `to_json` wrote."""
        return cls(record.get("query", ""), record.get("document", ""))

    def to_json(self) -> dict[str, str]:
        """Return the two texts by side, to be written down."""
        return asdict(self)

    def of(self, side: Side) -> str:
        """Return the prompt of a side."""
        return self.query if side == "query" else self.document

    def prepend(self, side: Side, texts: Sequence[str]) -> list[str]:
        """Put the prompt of a side before each text."""
        prompt = self.of(side)
        return [prompt + text for text in texts]


_SEARCH = "Represent this sentence for searching relevant passages: "

# By what a model's name holds: the prompts that its authors publish for retrieval. Where the
# files of a model do not have them (or there are no files, as behind an API) they are suggested.
_PUBLISHED: tuple[tuple[str, Prompts], ...] = (
    (
        r"e5-mistral|e5-large-instruct",
        Prompts(
            "Instruct: Given a web search query, retrieve relevant passages that answer the "
            "query\nQuery: "
        ),
    ),
    (r"(^|[/_-])e5([_-]|$)", Prompts("query: ", "passage: ")),
    (r"bge-(small|base|large)-en", Prompts(_SEARCH)),
    (r"nomic-embed-text", Prompts("search_query: ", "search_document: ")),
    (r"arctic-embed.*v2", Prompts("query: ")),
    (r"arctic-embed", Prompts(_SEARCH)),
    (r"mxbai-embed-large", Prompts(_SEARCH)),
    (
        r"qwen3-embedding",
        Prompts(
            "Instruct: Given a web search query, retrieve relevant passages that answer the "
            "query\nQuery:"
        ),
    ),
    (r"embedding-?gemma", Prompts("task: search result | query: ", "title: none | text: ")),
)


def published_prompts(name: str) -> Prompts | None:
    """Return the prompts that the authors of a known family of models publish, by its name.

    >>> published_prompts("openai:intfloat/multilingual-e5-base")
    Prompts(query='query: ', document='passage: ')
    """
    return next(
        (prompts for pattern, prompts in _PUBLISHED if re.search(pattern, name.lower())), None
    )
