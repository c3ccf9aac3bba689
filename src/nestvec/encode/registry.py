"""From a name to an encoder."""

import logging
from collections.abc import Mapping
from typing import Any, TypedDict

from typing_extensions import Unpack

from nestvec.encode.address import OPENAI_URL
from nestvec.encode.checkpoint import PACKAGED
from nestvec.encode.encoder import Encoder
from nestvec.encode.openai import Limits, OpenAIEncoder
from nestvec.encode.prompts import SIDES, Prompts, Side, published_prompts
from nestvec.encode.sentence_transformers import SentenceTransformerEncoder
from nestvec.errors import InputError
from nestvec.keywords import complete

OPENAI_PREFIX = "openai:"

_logger = logging.getLogger(__name__)


class EncoderOptions(TypedDict, total=False):
    """Keyword options of `open_encoder`; None is the default of each.

    - `dims`: truncate all rows to this prefix, renormalised; requests to an API name it.
    - `query_prompt`, `document_prompt`: put before each query or document in place of the prompt
      of the model; "" for none.
    - `batch_size`: texts in a batch of a model here, or in a request to an API.

    For an embedding API only:

    - `base_url`: the address, to which `/embeddings` is appended; that of OpenAI by default.
    - `key_variable`: the environment variable of the key, `OPENAI_API_KEY` by default.
    - `headers`: further headers, each with the environment variable that holds its value.
    - `requests`: requests at a time (4).
    - `dimensions`: as `dims`, but rows of another width are an error.

    For a Sentence Transformers model only:

    - `device`: such as "cpu" or "cuda".
    - `download`: False to use what is on this machine (True).
    - `revision`: a branch, tag or commit of a model of the hub.
    - `trust_remote_code`: True to run code that the model brings with it (False).
    """

    dims: int | None
    query_prompt: str | None
    document_prompt: str | None
    batch_size: int | None
    base_url: str | None
    key_variable: str | None
    headers: Mapping[str, str] | None
    requests: int | None
    dimensions: int | None
    device: str | None
    download: bool | None
    revision: str | None
    trust_remote_code: bool | None


_DEFAULTS: dict[str, Any] = dict.fromkeys(EncoderOptions.__annotations__)
_REMOTE = ("base_url", "dimensions", "key_variable", "headers", "requests")
_LOCAL = ("device", "download", "revision", "trust_remote_code")


def open_encoder(name: str = PACKAGED, **options: Unpack[EncoderOptions]) -> Encoder:
    """The encoder called `name`.

    - `"minilm"`: all-MiniLM-L6-v2 from an installed package; needs no network, ever.
    - `"openai:MODEL"`: `MODEL` behind an OpenAI-compatible endpoint (see `OpenAIEncoder`).
    - anything else: a Sentence Transformers model, by folder or by name (see
      `SentenceTransformerEncoder`).

    The options are those of `EncoderOptions`. A model that puts prompts before texts has
    `encode_query` and `encode_document`; its prompts are in `encoder.info.prompts`. A warning names
    the published prompts of a known model whose files have none, and says where `dims` had to be
    truncated here because an API ignored the request.

    For every encoder, `open_encoder(info.name, base_url=info.base_url)` with `info = encoder.info`
    opens the same model again. Raises `InputError` for an option that does not fit the name,
    `EncodeError` when the model cannot be opened, `MissingExtraError` when the package for it is
    not installed.
    """
    encoder = open_without_notes(name, **options)
    published = published_prompts(name)
    if encoder.info.prompts is None and published is not None:
        _logger.warning(
            "%s is known to need prompts, and none are set; its authors publish "
            "query_prompt=%r and document_prompt=%r (--query-prompt, --document-prompt; pass empty "
            "texts for none)",
            name,
            published.query,
            published.document,
        )
    if isinstance(encoder, OpenAIEncoder) and encoder.full_width is not None:
        _logger.warning(
            "%s returns %d dims where %d are requested; they are truncated and renormalised here",
            encoder.info.base_url,
            encoder.full_width,
            encoder.info.dim,
        )
    return encoder


def open_without_notes(name: str = PACKAGED, **options: Unpack[EncoderOptions]) -> Encoder:
    """Open an encoder as `open_encoder` does, without its warnings."""
    values = complete(options, _DEFAULTS, "open_encoder")
    if not isinstance(name, str):
        raise InputError(f"{name!r} is no name of a model; pass a text, such as 'minilm'")
    if name.startswith(OPENAI_PREFIX):
        return _open_api(name, values)
    remote = [option for option in _REMOTE if values[option] is not None]
    if remote:
        raise InputError(
            f"{', '.join(remote)} given for the local model {name!r}; these are for an "
            f"embedding API: write {OPENAI_PREFIX + name!r} or leave them out"
        )
    return SentenceTransformerEncoder(
        name,
        device=values["device"],
        download=values["download"] is not False,
        batch_size=values["batch_size"],
        revision=values["revision"],
        dims=values["dims"],
        prompts=_prompts(values),
        trust_remote_code=bool(values["trust_remote_code"]),
    )


def _open_api(name: str, values: Mapping[str, Any]) -> Encoder:
    unset = {"download": True, "trust_remote_code": False}
    local = [option for option in _LOCAL if values[option] not in (None, unset.get(option))]
    if local:
        raise InputError(
            f"{', '.join(f'{option}={values[option]!r}' for option in local)} given for {name!r}, "
            "which runs elsewhere; leave it out"
        )
    prompts = _prompts(values)
    limits = {"texts": values["batch_size"], "requests": values["requests"]}
    return OpenAIEncoder(
        name.removeprefix(OPENAI_PREFIX),
        base_url=OPENAI_URL if values["base_url"] is None else values["base_url"],
        dimensions=values["dimensions"],
        dims=values["dims"],
        prompts=Prompts(**prompts) if prompts else None,
        key_variable=(
            "OPENAI_API_KEY" if values["key_variable"] is None else values["key_variable"]
        ),
        headers=values["headers"],
        limits=Limits(**{name: value for name, value in limits.items() if value is not None}),
    )


def _prompts(values: Mapping[str, Any]) -> dict[Side, str]:
    return {
        side: values[f"{side}_prompt"] for side in SIDES if values[f"{side}_prompt"] is not None
    }
