"""Any OpenAI-compatible `/v1/embeddings` endpoint: OpenAI's own, vLLM, TEI, Ollama, llama.cpp…"""

import base64
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from nestvec.encode.address import OPENAI_URL, embeddings_url, public_address
from nestvec.encode.encoder import ModelInfo, check_texts, unit_rows
from nestvec.encode.endpoint import Endpoint
from nestvec.encode.json_row import parse_row
from nestvec.encode.retry import Retry
from nestvec.errors import DimsError, EncodeError, InputError
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32


@dataclass(frozen=True, slots=True)
class Limits:
    """The most to send: `texts` and characters (`chars`) per request, `requests` at a time.

    OpenAI itself takes 2,048 texts and 300,000 tokens; the defaults keep below that in any
    script. Text Embeddings Inference takes 32 texts unless told otherwise.
    """

    texts: int = 256
    chars: int = 200_000
    requests: int = 4

    def __post_init__(self) -> None:
        for name in ("texts", "chars", "requests"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} is below 1; use 1 or more")


class OpenAIEncoder:
    """The model `model` behind `{base_url}/embeddings`.

    The key is read from the environment variable `key_variable` and goes to `base_url`, so name
    another variable for another provider. Without the variable, or with `key_variable=""`, no key
    is sent, which only api.openai.com refuses. `dimensions` asks the server for shorter vectors;
    without it one short text is sent at once to learn the width, so that a wrong key shows here and
    not an hour later.

    Raises `EncodeError` when the server refuses, stays unusable for all attempts of `retry`, or
    answers with other than one finite vector of the right width per text.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = OPENAI_URL,
        dimensions: int | None = None,
        key_variable: str = "OPENAI_API_KEY",
        timeout_s: float = 60.0,
        limits: Limits | None = None,
        retry: Retry | None = None,
    ) -> None:
        if not model:
            raise InputError("model is empty; name one, such as 'text-embedding-3-small'")
        if dimensions is not None and dimensions < 1:
            raise DimsError(f"dimensions={dimensions} is below 1; use 1 or more, or leave it out")
        if timeout_s <= 0:
            raise InputError(f"timeout_s={timeout_s} is not above 0; use seconds, such as 60")
        url = embeddings_url(base_url)
        key = _key(key_variable, url)
        self._endpoint = Endpoint(url, key, timeout_s, retry or Retry())
        self._limits = limits or Limits()
        self._model = model
        self._dimensions = dimensions
        dim = dimensions if dimensions is not None else self._probe()
        self.info = ModelInfo(f"openai:{model}", None, dim, public_address(base_url))

    def __repr__(self) -> str:
        return f"OpenAIEncoder({self._model!r}, {self._endpoint.shown!r}, dim={self.info.dim})"

    def encode(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """One unit row per text, in the order given; no texts give shape (0, dim)."""
        texts = check_texts(items)
        parts = [np.empty((0, self.info.dim), dtype=np.float32)]
        batches = list(split_batches(texts, self._limits))
        with (
            progress("Encoding", len(texts)) as advance,
            self._endpoint.connect() as connection,
            ThreadPoolExecutor(self._limits.requests) as pool,
        ):
            # `map` gives results in order, and cancels what has not begun when one of them raises.
            replies = pool.map(lambda batch: connection.post(self._body(batch)), batches)
            for batch, reply in zip(batches, replies, strict=True):
                vectors = parse_reply(reply, len(batch))
                self._check_width(vectors.shape[1])
                parts.append(vectors)
                advance(len(batch))
        return unit_rows(np.concatenate(parts), self.info.name)

    def _probe(self) -> int:
        with self._endpoint.connect() as connection:
            return int(parse_reply(connection.post(self._body(["width"])), 1).shape[1])

    def _body(self, batch: list[str]) -> dict[str, Any]:
        body = {"model": self._model, "input": batch, "encoding_format": "float"}
        return body if self._dimensions is None else {**body, "dimensions": self._dimensions}

    def _check_width(self, width: int) -> None:
        if width != self.info.dim:
            raise EncodeError(
                f"{self.info.name} gave vectors of {width} dimensions where {self.info.dim} are "
                "due; use a model that can shorten its vectors, or leave dimensions out"
            )


def split_batches(texts: list[str], limits: Limits) -> Iterator[list[str]]:
    """The texts in order, in batches within the limits; a text above `chars` goes alone."""
    batch: list[str] = []
    chars = 0
    for text in texts:
        if batch and (len(batch) == limits.texts or chars + len(text) > limits.chars):
            yield batch
            batch, chars = [], 0
        batch.append(text)
        chars += len(text)
    if batch:
        yield batch


def parse_reply(reply: Any, count: int) -> Float32[np.ndarray, "n dim"]:
    """The vectors of an embeddings reply in the order of their `index`, else `EncodeError`.

    Entries without `index` are taken in the order given, as some servers leave it out.
    """
    entries = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _unusable("holds no list 'data' of embeddings")
    if len(entries) != count:
        raise _unusable(f"holds {len(entries)} vectors for {count} texts")
    positions = [entry.get("index", place) for place, entry in enumerate(entries)]
    if any(type(p) is not int for p in positions) or sorted(positions) != list(range(count)):
        raise _unusable(f"has the indices {positions[:10]}, not 0..{count - 1} once each")
    vectors = [_parse_vector(entries[i].get("embedding")) for i in np.argsort(positions)]
    widths = sorted({vector.size for vector in vectors})
    if len(widths) != 1:
        raise _unusable(f"mixes vectors of {widths[0]} and {widths[-1]} dimensions")
    return np.stack(vectors)


def _parse_vector(embedding: Any) -> Float32[np.ndarray, " dim"]:
    """Numbers as a JSON list, or as base64 of little-endian float32."""
    if isinstance(embedding, str):
        try:
            raw = np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
        except ValueError:
            raise _unusable("holds an embedding that is not base64 of float32") from None
        return raw.astype(np.float32)
    row = parse_row(embedding)
    if row is None:
        raise _unusable("holds an embedding that is not a list of numbers")
    return row


def _unusable(problem: str) -> EncodeError:
    return EncodeError(
        f"the server's reply {problem}; check that base_url is an OpenAI-compatible embeddings "
        "endpoint and that the model is an embedding model"
    )


def _key(variable: str, url: str) -> str | None:
    """The key, from the one place where nestvec's library reads the environment.

    A key as an argument would end up in scripts, notebooks and process lists.
    """
    key = os.environ.get(variable, "").strip() if variable else ""
    if not key and urlsplit(url).hostname == "api.openai.com":
        raise EncodeError(
            f"the environment variable {variable} is not set and {OPENAI_URL} needs a key; "
            "export it, or give the base_url of a server without keys"
        )
    # An HTTP library that meets such a key would print it in its error.
    if not key.isascii() or not key.isprintable():
        raise EncodeError(
            f"the key in {variable} holds characters that no key has; export it again"
        )
    return key or None
