"""Models as the command line names them."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nestvec.cli.output import note
from nestvec.encode import Encoder, open_encoder
from nestvec.errors import InputError
from nestvec.index import Index

DEFAULT = "minilm"
HELP = (
    "minilm (packaged, needs no network), a Sentence Transformers model by name or folder, or "
    "openai:MODEL for an embedding API."
)


def open_model(name: str, base_url: str | None, dimensions: int | None) -> Encoder:
    """The encoder called `name`. OPENAI_BASE_URL stands in for a missing `base_url` of an API."""
    if base_url is None and name.startswith("openai:"):
        base_url = os.environ.get("OPENAI_BASE_URL") or None
    return open_encoder(name, base_url=base_url, dimensions=dimensions)


def describe(encoder: Encoder, dimensions: int | None) -> dict[str, Any]:
    """What an index records of its model, so that queries are encoded alike.

    Never the address of an API: the key goes there, and an index may come from a stranger.
    """
    facts = asdict(encoder.info)
    return facts if dimensions is None else {**facts, "dimensions": dimensions}


def open_recorded(
    recorded: Mapping[str, Any] | None, name: str | None, base_url: str | None
) -> Encoder:
    """The model that an index records, or the one called `name` in its place."""
    if name is not None:
        return open_model(name, base_url, None)
    if recorded is None:
        raise InputError(
            "the index records no model, so a text cannot become a query; name the model that made "
            "its vectors with --model, or give vectors with --vectors FILE"
        )
    return open_model(str(recorded["name"]), base_url, recorded.get("dimensions"))


def open_for(index: Index, name: str | None, base_url: str | None) -> Encoder:
    """The model for queries of an index; a note where it is not the one that made its vectors."""
    recorded = index.meta["model"]
    encoder = open_recorded(recorded, name, base_url)
    if name is None and recorded["revision"] not in (None, encoder.info.revision):
        note(
            f"warning: {index.path} was made with {recorded['name']} at {recorded['revision']}, "
            f"here it is {encoder.info.revision}; scores may differ, index again to be sure"
        )
    return encoder
