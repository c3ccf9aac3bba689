"""Encoders by the record that an index keeps of them, and texts that only go where they were told.

A record says which model made the vectors and, for an embedding API, at which address, without
credentials. Queries and new documents go to that address: never to a public default, and never to
another address unless the caller names it.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestvec.encode import Encoder, encode_to_file, open_encoder
from nestvec.encode.address import OPENAI_URL, is_loopback, public_address
from nestvec.encode.registry import OPENAI_PREFIX
from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.progress import Progress

DEFAULT_MODEL = "minilm"

Notify = Callable[[str], None]
"""Receives a sentence that the user should see."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """The encoder that a caller asks for, in place of the recorded one.

    `trusted_url` is an address that the user configured elsewhere (such as in OPENAI_BASE_URL): it
    stands in for a missing `base_url` of an API that the caller names, and it may get the key.
    """

    name: str | None = None
    base_url: str | None = None
    trusted_url: str | None = None

    def open(self, dimensions: int | None = None) -> Encoder:
        """Open the encoder by name, the packaged one where no name is given."""
        name, base_url = self.name or DEFAULT_MODEL, self.base_url
        if base_url is None and name.startswith(OPENAI_PREFIX):
            base_url = self.trusted_url
        return open_encoder(name, base_url=base_url, dimensions=dimensions)

    def record(self, dimensions: int | None = None) -> dict[str, Any]:
        """Build the record of a model by its name, without opening it."""
        name, base_url = self.name or DEFAULT_MODEL, self.base_url
        if base_url is None and name.startswith(OPENAI_PREFIX):
            base_url = self.trusted_url
        record: dict[str, Any] = {"name": name, "revision": None}
        if base_url is not None:
            record["base_url"] = public_address(base_url)
        return record if dimensions is None else {**record, "dimensions": dimensions}


def model_record(encoder: Encoder, dimensions: int | None = None) -> dict[str, Any]:
    """Build the record of an encoder that an index keeps, so that queries are encoded alike."""
    record = encoder.info.to_json()
    return record if dimensions is None else {**record, "dimensions": dimensions}


def open_recorded(
    record: Mapping[str, Any] | None,
    choice: EncoderChoice | None = None,
    notify: Notify = _logger.warning,
) -> Encoder:
    """Open the encoder that a record names, or the caller's choice in its place.

    Texts go to the recorded address or to one that the caller names, never to a public default. A
    `base_url` other than the recorded one is refused unless the choice names the model too.
    """
    facts = {} if record is None else record
    choice = choice or EncoderChoice()
    if choice.name is None and not facts:
        raise InputError(
            "no model is recorded, so a text cannot become a vector; name the model that made the "
            "vectors, or pass vectors"
        )
    model = str(facts["name"]) if choice.name is None else choice.name
    dimensions = facts.get("dimensions") if model == facts.get("name") else None
    if not model.startswith(OPENAI_PREFIX):
        return open_encoder(model, base_url=choice.base_url, dimensions=dimensions)
    address = facts.get("base_url")
    if choice.base_url is not None:
        _check_same_address(model, address, choice)
        return open_encoder(model, base_url=choice.base_url, dimensions=dimensions)
    if address is not None:
        return _open_at(model, str(address), dimensions, choice.trusted_url, notify)
    url = None if choice.name is None or _is_api(facts) else choice.trusted_url
    if url is None:
        raise InputError(
            f"no address is recorded for {model}, and texts are sent to none by default; name it "
            f"as the base URL (--base-url), which for OpenAI itself is {OPENAI_URL}"
        )
    return open_encoder(model, base_url=url, dimensions=dimensions)


def _check_same_address(model: str, address: str | None, choice: EncoderChoice) -> None:
    base_url = public_address(choice.base_url or "")
    if choice.name is None and address is not None and base_url != address:
        raise InputError(
            f"the base URL {base_url} is not where {model} was recorded, {address}; leave it out "
            f"or, if the same model answers there, name the model too (--model {model})"
        )


def _open_at(
    model: str, address: str, dimensions: int | None, trusted_url: str | None, notify: Notify
) -> Encoder:
    """Open the model at a recorded address, which whoever wrote the file has chosen.

    So the key goes there only if the address is OpenAI's, this machine's or the trusted one; texts
    are sent to any other without the key, and the user is told.
    """
    trusted = {OPENAI_URL, *([] if trusted_url is None else [public_address(trusted_url)])}
    if address in trusted or is_loopback(address):
        return open_encoder(model, base_url=address, dimensions=dimensions)
    notify(
        f"texts are sent to {address}, as recorded, without a key; name the base URL "
        f"(--base-url {address}) to send the key in OPENAI_API_KEY too"
    )
    return open_encoder(model, base_url=address, dimensions=dimensions, key_variable="")


def _is_api(record: Mapping[str, Any]) -> bool:
    return str(record.get("name", "")).startswith(OPENAI_PREFIX)


def warn_of_other_revision(
    record: Mapping[str, Any], encoder: Encoder, path: Path, notify: Notify = _logger.warning
) -> None:
    """Notify where the opened model is of another revision than the recorded one."""
    if record["revision"] not in (None, encoder.info.revision):
        notify(
            f"warning: {path} was made with {record['name']} at {record['revision']}, here it is "
            f"{encoder.info.revision}; scores may differ, index again to be sure"
        )


def open_for_queries(
    index: Index, choice: EncoderChoice, notify: Notify = _logger.warning
) -> Encoder:
    """Open the encoder for queries of an index, and notify of another revision than recorded."""
    record = index.meta["model"]
    if record is None and choice.name is None:
        raise InputError(
            "the index records no model, so a text cannot become a query; name the model that made "
            "its vectors with --model, or give vectors with --vectors FILE"
        )
    encoder = open_recorded(record, choice, notify)
    if choice.name is None:
        warn_of_other_revision(record, encoder, index.path, notify)
    return encoder


def encode_beside(
    encoder: Encoder,
    record: Mapping[str, Any],
    texts: Sequence[str],
    target: Path,
    progress: Progress,
) -> Path:
    """Encode texts into a `.npy` file beside `target`, resuming an unfinished one; return its path.

    The name of the file depends on model and texts, so that a finished file is never taken for that
    of other texts. The caller removes it when the vectors are stored.
    """
    work = hashlib.sha256(json.dumps([dict(record), list(texts)]).encode()).hexdigest()[:12]
    path = target.with_name(f"{target.name}.vectors-{work}.npy")
    if not path.exists():
        encode_to_file(encoder, texts, path, progress=progress)
    return path
