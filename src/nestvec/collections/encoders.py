"""Encoders by their record in an index, which also says to which address texts may go.

A record names the model of the vectors and, for an embedding API, its address without
credentials. Queries and new documents go to that address: never to a public default, and never to
another address unless the caller names it.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.encode import Encoder, ModelInfo, encode_to_file, open_encoder
from nestvec.encode.address import OPENAI_URL, is_loopback, public_address
from nestvec.encode.checkpoint import is_cached
from nestvec.encode.encoder import encode_plain, encode_side
from nestvec.encode.prompts import SIDES, Prompts, Side
from nestvec.encode.registry import OPENAI_PREFIX, EncoderOptions, open_without_notes
from nestvec.encode.writer import OnBadText, adopt_unfinished
from nestvec.errors import InputError
from nestvec.index import Index
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32

DEFAULT_MODEL = "minilm"

Notify = Callable[[str], None]
"""Receives a sentence that the user should see."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """The encoder that a caller asks for, in place of the recorded one.

    `trusted_url` is an address that the user configured elsewhere (such as in OPENAI_BASE_URL): it
    stands in for a missing `base_url` of an API that the caller names, and it may get the key.
    `options` are further ones of `open_encoder`.
    """

    name: str | None = None
    base_url: str | None = None
    trusted_url: str | None = None
    options: EncoderOptions = field(default_factory=EncoderOptions)

    def open(self, dimensions: int | None = None) -> Encoder:
        """Open the encoder by name; without a name, the packaged one."""
        name, options = self._named(dimensions)
        return open_encoder(name, **options)

    def record(self, dimensions: int | None = None) -> dict[str, Any]:
        """Build the record of a model by its name, without opening it.

        Its vectors count as those of documents, encoded with the prompts that are set here or else
        with those of the model, which is not read.
        """
        name, options = self._named(dimensions)
        record: dict[str, Any] = {"name": name, "revision": None}
        base_url = options.get("base_url")
        if base_url is not None:
            record["base_url"] = public_address(base_url)
        prompts = {
            side: options[f"{side}_prompt"]  # type: ignore[literal-required]
            for side in SIDES
            if options.get(f"{side}_prompt") is not None
        }
        record["prompts"] = Prompts(**prompts).to_json() if prompts else _MODEL_PROMPTS
        for option in ("dims", "dimensions"):
            if options.get(option) is not None:
                record[option] = options[option]
        return record

    def _named(self, dimensions: int | None) -> tuple[str, EncoderOptions]:
        """The name of the model and the options to open it with."""
        name, base_url = self.name or DEFAULT_MODEL, self.base_url
        if base_url is None and name.startswith(OPENAI_PREFIX):
            base_url = self.trusted_url
        options = self.options.copy()
        if dimensions is not None:
            options["dimensions"] = dimensions
        if base_url is not None:
            options["base_url"] = base_url
        return name, options


_MODEL_PROMPTS = "own"
"""Recorded in place of prompts: those of the model, whose files were not read."""


def model_record(encoder: Encoder, dimensions: int | None = None) -> dict[str, Any]:
    """Build the record of an encoder that an index keeps, so that queries are encoded alike."""
    record = encoder.info.to_json()
    return record if dimensions is None else {**record, "dimensions": dimensions}


class PlainEncoder:
    """Encoder without sides, as older indexes used it for queries and documents alike."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def info(self) -> ModelInfo:
        """The facts of the encoder, without its prompts."""
        return replace(self._encoder.info, prompts=None)

    def encode(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """One unit row per text, by `encode` of the encoder."""
        return encode_plain(self._encoder, items, progress)


def match_sides(
    encoder: Encoder, record: Mapping[str, Any], notify: Notify = _logger.warning
) -> Encoder:
    """Return an encoder that uses prompts as the vectors of a record did.

    A record without prompts is of an encoder that has none, or of an index from before prompts were
    recorded. Queries then have no prompts either, like its documents, and a note says so.
    """
    prompts = getattr(encoder.info, "prompts", None)
    recorded = record.get("prompts")
    if prompts is None:
        return encoder
    if recorded is None:
        notify(
            f"warning: no prompts are recorded with the vectors, and {encoder.info.name} has some "
            f"(query {prompts.query!r}, document {prompts.document!r}); texts are encoded without "
            "prompts here, as those vectors were: encode again for better answers"
        )
        return PlainEncoder(encoder)
    if isinstance(recorded, Mapping) and recorded.get("document", "") != prompts.document:
        notify(
            f"warning: the documents of the index were encoded with the prompt "
            f"{recorded.get('document', '')!r}, and this encoder has {prompts.document!r}"
        )
    return encoder


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
    options = _recorded_options(facts, choice, same_model=model == facts.get("name"))
    encoder = _open(model, facts, choice, options, notify)
    if record is None or choice.options.get("query_prompt") is not None:
        return encoder
    return match_sides(encoder, record, notify)


def _recorded_options(
    facts: Mapping[str, Any], choice: EncoderChoice, same_model: bool
) -> EncoderOptions:
    """The options that a record holds, and those of the caller before them."""
    options = EncoderOptions()
    revision = facts.get("revision")
    if same_model and is_cached(str(facts["name"]), revision):
        options["revision"] = revision
    if same_model and facts.get("dimensions") is not None:
        options["dimensions"] = facts["dimensions"]
    if same_model and facts.get("dims") is not None:
        options["dims"] = facts["dims"]
    if isinstance(facts.get("prompts"), Mapping):
        prompts = Prompts.from_json(facts["prompts"])
        options["query_prompt"], options["document_prompt"] = prompts.query, prompts.document
    return EncoderOptions(**{**options, **choice.options})


def _open(
    model: str,
    facts: Mapping[str, Any],
    choice: EncoderChoice,
    options: EncoderOptions,
    notify: Notify,
) -> Encoder:
    """Open a model at the address that the record or the caller names."""
    if not model.startswith(OPENAI_PREFIX):
        return open_without_notes(model, **_with_address(choice.base_url, options))
    address = facts.get("base_url")
    if choice.base_url is not None:
        _check_same_address(model, address, choice)
        return open_without_notes(model, **_with_address(choice.base_url, options))
    if address is not None:
        return _open_at(model, str(address), options, choice.trusted_url, notify)
    url = None if choice.name is None or _is_api(facts) else choice.trusted_url
    if url is None:
        raise InputError(
            f"no address is recorded for {model}, and texts are sent to none by default; name it "
            f"as the base URL (--base-url), which for OpenAI itself is {OPENAI_URL}"
        )
    return open_without_notes(model, **_with_address(url, options))


def _with_address(base_url: str | None, options: EncoderOptions) -> EncoderOptions:
    """The options with the address of an API, if there is one."""
    copy = options.copy()
    if base_url is not None:
        copy["base_url"] = base_url
    return copy


def _check_same_address(model: str, address: str | None, choice: EncoderChoice) -> None:
    base_url = public_address(choice.base_url or "")
    if choice.name is None and address is not None and base_url != address:
        raise InputError(
            f"the base URL {base_url} is not where {model} was recorded, {address}; leave it out "
            f"or, if the same model answers there, name the model too (--model {model})"
        )


def _open_at(
    model: str, address: str, options: EncoderOptions, trusted_url: str | None, notify: Notify
) -> Encoder:
    """Open the model at a recorded address, which whoever wrote the file has chosen.

    So the key, and what else the headers hold, goes there only if the address is OpenAI's, this
    machine's or the trusted one; texts are sent to any other without, and the user is told.
    """
    trusted = {OPENAI_URL, *([] if trusted_url is None else [public_address(trusted_url)])}
    if address in trusted or is_loopback(address):
        return open_without_notes(model, **_with_address(address, options))
    notify(
        f"texts are sent to {address}, as recorded, without a key; name the base URL "
        f"(--base-url {address}) to send the key in OPENAI_API_KEY too"
    )
    keyless = _with_address(address, options)
    keyless["key_variable"], keyless["headers"] = "", None
    return open_without_notes(model, **keyless)


def _is_api(record: Mapping[str, Any]) -> bool:
    return str(record.get("name", "")).startswith(OPENAI_PREFIX)


def warn_of_other_revision(
    record: Mapping[str, Any], encoder: Encoder, path: Path, notify: Notify = _logger.warning
) -> None:
    """Notify where the opened model is of another revision than the recorded one."""
    if record.get("revision") not in (None, encoder.info.revision):
        notify(
            f"warning: {path} was made with {record['name']} at {record['revision']}, here it is "
            f"{encoder.info.revision}; scores may differ, index again to be sure"
        )


def tell_query_prompt(index: Index, path: Path, notify: Notify = _logger.warning) -> None:
    """Notify that vectors of queries must have the query prompt of the index."""
    prompts = (index.meta["model"] or {}).get("prompts")
    if isinstance(prompts, Mapping) and prompts.get("query") != prompts.get("document"):
        notify(
            f"warning: {path} holds vectors, so it cannot be seen whether they were encoded as "
            f"queries, with the prompt {prompts.get('query')!r}; the documents of {index.path} "
            f"were encoded with {prompts.get('document')!r} (nestvec encode --side query)"
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


def encode_queries(
    encoder: Encoder, texts: Sequence[str], progress: Progress = silent
) -> Float32[np.ndarray, "n dim"]:
    """Encode texts as queries, with the query prompt where the encoder has one."""
    return encode_side(encoder, "query", texts, progress)


def encode_beside(
    encoder: Encoder,
    record: Mapping[str, Any],
    texts: Sequence[str],
    target: Path,
    progress: Progress,
    *,
    side: Side = "document",
    blanks: bool = False,
) -> tuple[Path, Mapping[int, str]]:
    """Encode texts into a `.npy` file beside `target`, resuming an unfinished one.

    The name of the file depends on model, side and texts, so that a finished file is never taken
    for that of other texts. An unfinished file of the same model is taken up if its rows are those
    of the first texts. With `blanks`, a text that the model refuses has a row of zeros; else it
    raises `BadTextError`. Returns the path, and the reasons of the rows of zeros. The caller
    removes the file when the vectors are stored.
    """
    facts = {**record, "side": side} if "prompts" in record else dict(record)
    work = [facts, list(texts), "blank"] if blanks else [facts, list(texts)]
    name = hashlib.sha256(json.dumps(work).encode()).hexdigest()[:12]
    path = target.with_name(f"{target.name}.vectors-{name}.npy")
    if path.exists():
        zeros = _rows_of_zeros(path) if blanks else []
        return path, dict.fromkeys(zeros, "has no vector")
    unfinished = target.parent.glob(f"{target.name}.vectors-*.npy.partial")
    adopt_unfinished(path, unfinished, encoder, texts, side)
    on_bad_text: OnBadText = "blank" if blanks else "fail"
    reasons = encode_to_file(
        encoder, texts, path, side=side, on_bad_text=on_bad_text, progress=progress
    )
    return path, reasons


def _rows_of_zeros(path: Path) -> list[int]:
    rows: list[int] = np.flatnonzero(~np.load(path, mmap_mode="r").any(axis=1)).tolist()
    return rows
