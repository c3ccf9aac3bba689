"""Models as the command line names them."""

import os
from collections.abc import Mapping
from typing import Any

from nestvec.cli.material import refuse
from nestvec.cli.output import note
from nestvec.encode import Encoder, open_encoder
from nestvec.encode.address import OPENAI_URL, is_loopback, public_address
from nestvec.encode.registry import OPENAI_PREFIX
from nestvec.errors import InputError
from nestvec.index import Index

DEFAULT = "minilm"
HELP = (
    "minilm (packaged, needs no network), a Sentence Transformers model by name or folder, or "
    "openai:MODEL for an embedding API."
)


def open_model(name: str, base_url: str | None, dimensions: int | None) -> Encoder:
    """The encoder called `name`. OPENAI_BASE_URL stands in for a missing `base_url` of an API."""
    if base_url is None and name.startswith(OPENAI_PREFIX):
        base_url = _environment_url()
    return open_encoder(name, base_url=base_url, dimensions=dimensions)


def describe(encoder: Encoder, dimensions: int | None) -> dict[str, Any]:
    """The facts of a model that an index records, so that queries are encoded alike.

    The address of an API is among them, without credentials.
    """
    facts = encoder.info.to_json()
    return facts if dimensions is None else {**facts, "dimensions": dimensions}


def describe_maker(
    name: str | None, base_url: str | None, dimensions: int | None
) -> dict[str, Any] | None:
    """The facts of a model that made vectors elsewhere; it is not opened."""
    for_api = {"--base-url": base_url, "--dimensions": dimensions}
    if name is None:
        refuse("for vectors without --model", for_api)
        return None
    if not name.startswith(OPENAI_PREFIX):
        refuse(f"for the local model {name}", {"--base-url": base_url})
    elif base_url is None:
        base_url = _environment_url()
    facts: dict[str, Any] = {"name": name, "revision": None}
    if base_url is not None:
        facts["base_url"] = public_address(base_url)
    return facts if dimensions is None else {**facts, "dimensions": dimensions}


def open_recorded(
    recorded: Mapping[str, Any] | None, name: str | None, base_url: str | None
) -> Encoder:
    """The model that a file records, or the one called `name` in its place.

    Texts go to the address that is recorded, or to one that the command names: never to a public
    default. A `base_url` other than the recorded one is refused unless `name` is given too.
    """
    facts = {} if recorded is None else recorded
    if name is None and not facts:
        raise InputError(
            "the index records no model, so a text cannot become a query; name the model that made "
            "its vectors with --model, or give vectors with --vectors FILE"
        )
    model = str(facts["name"]) if name is None else name
    dimensions = facts.get("dimensions") if model == facts.get("name") else None
    if not model.startswith(OPENAI_PREFIX):
        return open_model(model, base_url, dimensions)
    address = facts.get("base_url")
    if base_url is not None:
        if name is None and address is not None and public_address(base_url) != address:
            raise InputError(
                f"--base-url {public_address(base_url)} is not where {model} was recorded, "
                f"{address}; leave it out or, if the same model answers there, add --model {model}"
            )
        return open_encoder(model, base_url=base_url, dimensions=dimensions)
    if address is not None:
        return _open_at(model, str(address), dimensions)
    named = None if name is None or _is_api(facts) else _environment_url()
    if named is None:
        raise InputError(
            f"no address is recorded for {model}, and texts are sent to none by default; name it "
            f"with --base-url, which for OpenAI itself is {OPENAI_URL}"
        )
    return open_encoder(model, base_url=named, dimensions=dimensions)


def _open_at(model: str, address: str, dimensions: int | None) -> Encoder:
    """The model at a recorded address, which whoever wrote the file has chosen.

    So the key goes there only if the address is OpenAI's, this machine's or the one that
    OPENAI_BASE_URL names; texts are sent to any other with a note.
    """
    user_url = _environment_url()
    trusted = {OPENAI_URL, *([] if user_url is None else [public_address(user_url)])}
    if address in trusted or is_loopback(address):
        return open_encoder(model, base_url=address, dimensions=dimensions)
    note(
        f"texts are sent to {address}, as recorded, without a key; add --base-url {address} "
        "to send the key in OPENAI_API_KEY too"
    )
    return open_encoder(model, base_url=address, dimensions=dimensions, key_variable="")


def _is_api(facts: Mapping[str, Any]) -> bool:
    return str(facts.get("name", "")).startswith(OPENAI_PREFIX)


def _environment_url() -> str | None:
    return os.environ.get("OPENAI_BASE_URL") or None


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
