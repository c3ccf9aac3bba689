"""Encoders as a command line names them: by --model, --base-url and OPENAI_BASE_URL."""

import os
from typing import Any

from nestvec.cli.output import note
from nestvec.collections import encoders
from nestvec.collections.encoders import EncoderChoice
from nestvec.collections.input_rows import reject_unused
from nestvec.encode import Encoder
from nestvec.encode.registry import OPENAI_PREFIX
from nestvec.index import Index

HELP = (
    "minilm (packaged, needs no network), a Sentence Transformers model by name or folder, or "
    "openai:MODEL for an embedding API."
)


def encoder_choice(name: str | None, base_url: str | None) -> EncoderChoice:
    """Build the choice of a command line; OPENAI_BASE_URL is the address that it trusts."""
    return EncoderChoice(name, base_url, os.environ.get("OPENAI_BASE_URL") or None)


def open_model(name: str | None, base_url: str | None, dimensions: int | None) -> Encoder:
    """Open the encoder that the options name, the packaged one without a name."""
    return encoder_choice(name, base_url).open(dimensions)


def record_of_options(
    name: str | None, base_url: str | None, dimensions: int | None
) -> dict[str, Any] | None:
    """Build the record of the model that made vectors elsewhere; it is not opened."""
    if name is None:
        unused = {"--base-url": base_url, "--dimensions": dimensions}
        reject_unused("for vectors without --model", unused)
        return None
    if not name.startswith(OPENAI_PREFIX):
        reject_unused(f"for the local model {name}", {"--base-url": base_url})
    return encoder_choice(name, base_url).record(dimensions)


def open_for_queries(index: Index, name: str | None, base_url: str | None) -> Encoder:
    """Open the encoder for queries, with a note where it is of another revision than recorded."""
    return encoders.open_for_queries(index, encoder_choice(name, base_url), note)
