"""Encoders as a command line names them: by --model, --base-url and OPENAI_BASE_URL."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from nestvec.cli.output import note
from nestvec.collections import encoders
from nestvec.collections.encoders import EncoderChoice
from nestvec.collections.input_rows import reject_unused
from nestvec.encode import Encoder
from nestvec.encode.registry import OPENAI_PREFIX, EncoderOptions
from nestvec.errors import InputError
from nestvec.index import Index

HELP = (
    "minilm (packaged, needs no network), a Sentence Transformers model by name or folder, or "
    "openai:MODEL for an embedding API."
)

_OF_RUN = ("batch_size", "requests", "revision", "trust_remote_code", "headers")
"""Options that say how to encode, and nothing of the vectors."""


def encoder_choice(
    name: str | None, base_url: str | None, options: EncoderOptions | None = None
) -> EncoderChoice:
    """Build the choice of a command line; OPENAI_BASE_URL is the address that it trusts."""
    trusted_url = os.environ.get("OPENAI_BASE_URL") or None
    used = EncoderOptions()
    for option, value in (options or {}).items():
        if value is not None and value is not False:
            used[option] = value  # type: ignore[literal-required]
    return EncoderChoice(name, base_url, trusted_url, used)


def encoder_options(
    query_prompt: str | None,
    document_prompt: str | None,
    trust_remote_code: bool,
    header: Sequence[str] | None,
) -> EncoderOptions:
    """The options of `open_encoder` that commands have which encode a few texts."""
    return {
        "query_prompt": query_prompt,
        "document_prompt": document_prompt,
        "trust_remote_code": trust_remote_code,
        "headers": headers_of(header),
    }


def headers_of(values: Sequence[str] | None) -> dict[str, str] | None:
    """The headers of `--header NAME=VARIABLE`; None without any."""
    headers = {}
    for value in values or ():
        name, equals, variable = value.partition("=")
        if not (name and equals and variable):
            raise InputError(
                f"--header {name}{equals}… is not NAME=VARIABLE; name the header and the "
                "environment variable that holds its value"
            )
        headers[name] = variable
    return headers or None


def open_model(
    name: str | None,
    base_url: str | None,
    dimensions: int | None,
    options: EncoderOptions | None = None,
) -> Encoder:
    """Open the encoder that the options name, the packaged one without a name."""
    return encoder_choice(name, base_url, options).open(dimensions)


def record_of_options(
    name: str | None,
    base_url: str | None,
    dimensions: int | None,
    options: EncoderOptions | None = None,
) -> dict[str, Any] | None:
    """Build the record of the model of a file of vectors, without opening it."""
    values = options or EncoderOptions()
    reject_unused("for vectors, which are not encoded again", _flags(values, _OF_RUN))
    if name is None:
        prompts = _flags(values, ("query_prompt", "document_prompt"))
        unused = {"--base-url": base_url, "--dimensions": dimensions, **prompts}
        reject_unused("for vectors without --model", unused)
        return None
    if not name.startswith(OPENAI_PREFIX):
        reject_unused(f"for the local model {name}", {"--base-url": base_url})
    return encoder_choice(name, base_url, options).record(dimensions)


def _flags(options: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    flags = {"headers": "--header"}
    return {flags.get(name, f"--{name.replace('_', '-')}"): options.get(name) for name in names}


def open_for_queries(
    index: Index, name: str | None, base_url: str | None, options: EncoderOptions | None = None
) -> Encoder:
    """Open the encoder for queries, with a note where it is of another revision than recorded."""
    return encoders.open_for_queries(index, encoder_choice(name, base_url, options), note)
