"""Any OpenAI-compatible `/v1/embeddings` endpoint: of OpenAI, vLLM, TEI, Ollama, llama.cpp…"""

import base64
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from nestvec.encode.address import OPENAI_URL, embeddings_url, public_address
from nestvec.encode.batches import BatchSizer
from nestvec.encode.encoder import ModelInfo, check_prefix, check_texts, truncated, unit_rows
from nestvec.encode.endpoint import Connection, Endpoint, RefusedTextsError
from nestvec.encode.json_row import parse_row
from nestvec.encode.prompts import Prompts, Side
from nestvec.encode.retry import Retry
from nestvec.errors import BadTextError, DimsError, EncodeError, InputError
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32


@dataclass(frozen=True, slots=True)
class Limits:
    """The most to send: `texts` and characters (`chars`) per request, `requests` at a time.

    OpenAI itself takes 2,048 texts and 300,000 tokens; the defaults keep below that in any
    script. Of a server that takes fewer, such as Text Embeddings Inference with its 32, an encoder
    learns the number by itself, from refusals.
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
    is sent, which only api.openai.com refuses. `headers` are further headers, each with the
    environment variable that holds its value. Neither is sent to another server by a redirect.

    `dims` truncates all rows: requests name that width and, where the server ignores or refuses
    it, its rows are truncated and renormalised here. `dimensions` asks, and raises for
    rows of another width. Without `dimensions` one short text is sent at once to learn the width,
    so that a wrong key shows here and not an hour later. `encode_query` and `encode_document` put
    `prompts` before texts, `encode` puts nothing.

    A batch that the server refuses (400, 413, 422) is sent again in halves. Raises `BadTextError`
    for single texts that it refuses or has no direction for, and `EncodeError` when it refuses
    everything, stays unusable for all attempts of `retry`, or answers with other than one vector of
    the right width per text.
    """

    def __init__(  # noqa: PLR0913  one call says all about a model, its server and how to ask it
        self,
        model: str,
        *,
        base_url: str = OPENAI_URL,
        dimensions: int | None = None,
        dims: int | None = None,
        prompts: Prompts | None = None,
        key_variable: str = "OPENAI_API_KEY",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        limits: Limits | None = None,
        retry: Retry | None = None,
    ) -> None:
        if not model:
            raise InputError("model is empty; name one, such as 'text-embedding-3-small'")
        if dimensions is not None and dimensions < 1:
            raise DimsError(f"dimensions={dimensions} is below 1; use 1 or more, or leave it out")
        dims = check_prefix(dims)
        if dimensions is not None and dims is not None and dims != dimensions:
            raise DimsError(f"dims={dims} and dimensions={dimensions} differ; leave one out")
        if timeout_s <= 0:
            raise InputError(f"timeout_s={timeout_s} is not above 0; use seconds, such as 60")
        url = embeddings_url(base_url)
        key = _key(key_variable, url)
        self._endpoint = Endpoint(url, key, timeout_s, retry or Retry(), _values(headers or {}))
        self._limits = limits or Limits()
        self._model = model
        self._prompts = prompts or Prompts()
        self._dims = dims
        self._dimensions = dimensions if dims is None else dims
        self._sizer = BatchSizer(self._limits.texts, self._endpoint.shown)
        self.full_width: int | None = None
        """The width of the server's rows where they are truncated here."""
        strict = dimensions is not None and dims is None
        dim = dimensions if strict and dimensions is not None else self._probe()
        address = public_address(base_url)
        self.info = ModelInfo(f"openai:{model}", None, dim, address, prompts, dims)

    def __repr__(self) -> str:
        return f"OpenAIEncoder({self._model!r}, {self._endpoint.shown!r}, dim={self.info.dim})"

    def encode(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """Return one unit row per text, in the same order; no texts give shape (0, dim)."""
        return self._encode(check_texts(items), progress)

    def encode_query(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """One unit row per text, each with the prompt of queries before it."""
        return self._encode_side("query", items, progress)

    def encode_document(
        self, items: Sequence[str], progress: Progress = silent
    ) -> Float32[np.ndarray, "n dim"]:
        """One unit row per text, each with the prompt of documents before it."""
        return self._encode_side("document", items, progress)

    def _encode_side(
        self, side: Side, items: Sequence[str], progress: Progress
    ) -> Float32[np.ndarray, "n dim"]:
        texts = self._prompts.prepend(side, check_texts(items))
        return self.encode(texts) if progress is silent else self.encode(texts, progress)

    def _encode(self, texts: list[str], progress: Progress) -> Float32[np.ndarray, "n dim"]:
        limits = Limits(
            min(self._limits.texts, self._sizer.max_texts),
            self._limits.chars,
            self._limits.requests,
        )
        batches = list(split_batches(texts, limits))
        results: list[np.ndarray | str] = []
        with (
            progress("Encoding", len(texts)) as advance,
            self._endpoint.connect() as connection,
            ThreadPoolExecutor(limits.requests) as pool,
        ):

            def send(batch: list[str]) -> list[np.ndarray | str]:
                return self._sizer.send(batch, lambda part: self._post(connection, part))

            try:
                # `map` gives results in order, and cancels what has not begun when one raises.
                for batch in pool.map(send, batches):
                    results.extend(batch)
                    advance(len(batch))
            except (EncodeError, KeyboardInterrupt) as e:
                e.rows_before = self._rows_before(results)  # type: ignore[union-attr]
                raise
        return self._unit_rows(results)

    def _post(self, connection: Connection, texts: list[str]) -> Float32[np.ndarray, "n dim"]:
        rows = parse_reply(connection.post(self._body(texts)), len(texts))
        if self._dims is not None:
            rows = truncated(rows, self._dims, self.info.name)
        self._check_width(rows.shape[1])
        return rows

    def _unit_rows(self, results: list[np.ndarray | str]) -> Float32[np.ndarray, "n dim"]:
        """The rows scaled to unit length; `BadTextError` names all texts that have none."""
        refused = {i: result for i, result in enumerate(results) if isinstance(result, str)}
        rows = np.zeros((len(results), self.info.dim), dtype=np.float32)
        accepted = [i for i in range(len(results)) if i not in refused]
        for i in accepted:
            rows[i] = results[i]
        if not refused:
            return unit_rows(rows, self.info.name)
        reasons = dict(refused)
        try:
            rows[accepted] = unit_rows(rows[accepted], self.info.name)
        except BadTextError as e:
            rows[accepted] = e.rows
            reasons.update({accepted[i]: reason for i, reason in e.reasons.items()})
        first = min(reasons)
        raise BadTextError(
            f"text {first} of {len(results)} {reasons[first]}; leave that text out, or shorten it",
            dict(sorted(reasons.items())),
            rows,
        )

    def _rows_before(self, results: list[np.ndarray | str]) -> Float32[np.ndarray, "n dim"]:
        """The rows in front of the first text that has none."""
        try:
            return self._unit_rows(results)
        except BadTextError as e:
            rows: Float32[np.ndarray, "n dim"] = e.rows[: min(e.reasons)]
            return rows

    def _probe(self) -> int:
        """The width of the rows, which one short text tells."""
        with self._endpoint.connect() as connection:
            try:
                rows = parse_reply(connection.post(self._body(["width"])), 1)
            except RefusedTextsError:
                if self._dims is None:
                    raise
                # Servers refuse the width where a model was not trained for it, or know none.
                self._dimensions = None
                rows = parse_reply(connection.post(self._body(["width"])), 1)
        self._sizer.confirm()
        width = int(rows.shape[1])
        if self._dims is None or width == self._dims:
            return width
        self.full_width = width
        return int(truncated(rows, self._dims, f"openai:{self._model}").shape[1])

    def _body(self, batch: list[str]) -> dict[str, Any]:
        body = {"model": self._model, "input": batch, "encoding_format": "float"}
        return body if self._dimensions is None else {**body, "dimensions": self._dimensions}

    def _check_width(self, width: int) -> None:
        if width != self.info.dim:
            raise EncodeError(
                f"{self.info.name} gave vectors of {width} dimensions where {self.info.dim} are "
                "due; use a model that can shorten its vectors, or pass dims in place of dimensions"
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
    """Read the vectors of an embeddings reply in the order of their `index`, or `EncodeError`.

    Entries without `index`, or with null, are read in their order, because some servers write none.
    Numbers that are null become NaN: that text alone then has no vector.
    """
    entries = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _unusable("holds no list 'data' of embeddings")
    if len(entries) != count:
        raise _unusable(f"holds {len(entries)} vectors for {count} texts")
    indices = [entry.get("index") for entry in entries]
    positions = [place if index is None else index for place, index in enumerate(indices)]
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
    if isinstance(embedding, list) and None in embedding:
        embedding = [float("nan") if number is None else number for number in embedding]
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
    key = _secret(variable) if variable else ""
    if not key and urlsplit(url).hostname == "api.openai.com":
        raise EncodeError(
            f"the environment variable {variable} is not set and {OPENAI_URL} needs a key; "
            "export it, or give the base_url of a server without keys"
        )
    return key or None


def _values(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with the values that the named environment variables hold."""
    values = {}
    for name, variable in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_|~-]+", name):
            raise InputError(f"{name!r} is no name of a header; write one such as 'x-tenant'")
        values[name] = _secret(variable)
        if not values[name]:
            raise InputError(
                f"the environment variable {variable!r} for the header {name} is not set; export "
                f"it with the value of the header (its name is given so that no process list shows "
                "the value)"
            )
    return values


def _secret(variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    # An HTTP library that meets such a key would print it in its error.
    if not value.isascii() or not value.isprintable():
        raise EncodeError(
            f"the key in {variable} holds characters that no key has; export it again"
        )
    return value
