"""JSON over HTTP to one address, with patience for a busy server and clear words for the rest."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from nestvec.encode.address import is_azure, public_address, redirected
from nestvec.encode.foreign import one_line
from nestvec.encode.retry import Retry, named_wait_s
from nestvec.errors import EncodeError, InputError
from nestvec.extras import require
from nestvec.json_text import parse_json

# Worth another try, as is every 5xx: the server was slow, busy or broken.
_PASSING = frozenset({408, 409, 425, 429})

# Refusals that may be about the size of the request, or about one of the texts.
_ABOUT_TEXTS = frozenset({400, 413, 422})

# Failures of a server (5xx) that no further attempt mends: so llama.cpp and Ollama report a text
# that is too long, and a vector with NaN, which JSON cannot hold.
_NEVER = re.compile(
    r"\bNaN\b|\btoo (large|long)\b|context (length|size|window)"
    r"|exceed\w* .{0,40}(tokens?|length|batch size)\b"
)

_BAD_REQUEST = 400
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3

_WAY_OUT = {
    400: "check the model name and the dimensions, and that no text is empty or too long",
    401: "check the key",
    403: "check what the key is allowed to do",
    404: "check base_url and the model name",
    413: "send less at a time with smaller Limits",
    422: "check the model name and the dimensions, and that no text is empty or too long",
}


class RefusedTextsError(EncodeError):
    """A server refused a request in a way that may be about its texts: their number or content."""

    def __init__(self, refusal: str, way_out: str) -> None:
        super().__init__(f"{refusal}; {way_out}")
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address, the key for it, further headers, and how patiently to ask."""

    url: str = field(repr=False)
    key: str | None = field(repr=False)
    timeout_s: float
    retry: Retry
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)

    @property
    def shown(self) -> str:
        """The address for messages, without credentials."""
        return public_address(self.url)

    @contextmanager
    def connect(self) -> Iterator["Connection"]:
        """A connection to share between the threads of one run."""
        httpx = require("httpx", "api")
        headers = {**self._key_header(), **self.headers}
        with httpx.Client(timeout=self.timeout_s, headers=headers) as client:
            yield Connection(self, client)

    def _key_header(self) -> dict[str, str]:
        if self.key is None:
            return {}
        if is_azure(self.url):
            return {"api-key": self.key}
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def secrets(self) -> list[str]:
        """The texts that no message may repeat."""
        return [text for text in (self.key, *self.headers.values()) if text]


class _PassingError(Exception):
    """One failed attempt that is worth another."""

    def __init__(self, problem: str, headers: Mapping[str, str]) -> None:
        super().__init__(problem)
        self.headers = headers


class Connection:
    """An open client, and the moment before which the server wants no further request."""

    def __init__(self, endpoint: Endpoint, client: Any) -> None:
        self._endpoint = endpoint
        self._client = client
        # Shared by all threads of a run: what one reply says of the limits holds for every request.
        self._not_before_s = 0.0

    def post(self, body: dict[str, Any]) -> Any:
        """The JSON reply to `body`, else `EncodeError` once no further attempt would help."""
        retry = self._endpoint.retry
        failures = 0
        while True:
            self._await_turn()
            try:
                return self._attempt(body)
            except _PassingError as failure:
                failures += 1
                if failures == retry.attempts:
                    raise EncodeError(
                        f"{self._endpoint.shown} failed {failures} times, at last with {failure}; "
                        "check the address, or try again later (Retry(attempts=...) allows more)"
                    ) from failure.__cause__
                if not self._note_limits(failure.headers):
                    retry.sleep(retry.backoff_s(failures))

    def _await_turn(self) -> None:
        retry = self._endpoint.retry
        wait_s = self._not_before_s - retry.clock()
        if wait_s > retry.longest_wait_s:
            raise EncodeError(
                f"{self._endpoint.shown} asks to wait {wait_s:.0f} s, longer than "
                f"longest_wait_s={retry.longest_wait_s:g}; try again later, or allow a longer wait"
            )
        if wait_s > 0:
            retry.sleep(wait_s)

    def _note_limits(self, headers: Mapping[str, str]) -> bool:
        """Remember how long the server asks to wait; False if it names no time."""
        now = self._endpoint.retry.clock()
        wait_s = named_wait_s(headers, now)
        if not wait_s:
            return False
        self._not_before_s = max(self._not_before_s, now + wait_s)
        return True

    def _attempt(self, body: dict[str, Any]) -> Any:
        reply = self._send(body)
        if reply.status_code == 200:
            self._note_limits(reply.headers)
            parsed = self._parse(reply.text)
            status = _status_inside(parsed)
            if status is None:
                return parsed
            message = f"status 200 and the error {status}: {self._server_message(reply.text)}"
            raise self._failure(status, message, reply)
        message = f"status {reply.status_code}: {self._server_message(reply.text)}"
        raise self._failure(reply.status_code, message, reply)

    def _send(self, body: dict[str, Any]) -> Any:
        """The reply, after redirects within the same server."""
        httpx = require("httpx", "api")
        url = self._endpoint.url
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                reply = self._client.post(url, json=body)
            except httpx.TimeoutException as e:
                problem = f"no reply within {self._endpoint.timeout_s:g} s"
                raise _PassingError(problem, {}) from e
            except httpx.RequestError as e:
                problem = f"a broken connection ({type(e).__name__}: {e})"
                raise _PassingError(self._shorten(problem), {}) from e
            location = reply.headers.get("location")
            if reply.status_code not in _REDIRECTS or not location:
                return reply
            target = redirected(url, location)
            if target is None:
                raise EncodeError(
                    f"{self._endpoint.shown} redirects to another server, "
                    f"{self._shorten(_shown(location))}, which gets neither the texts nor the key; "
                    "if it is the right one, pass it as base_url"
                )
            url = target
        raise EncodeError(
            f"{self._endpoint.shown} redirects more than {_MAX_REDIRECTS} times; check base_url"
        )

    def _failure(self, status: int, message: str, reply: Any) -> Exception:
        """The error for a reply that is none: worth another try, about the texts, or final."""
        # An empty account is reported as 429 too, but waiting does not fill it.
        passing = (status in _PASSING or status >= 500) and "insufficient_quota" not in reply.text
        about_texts = status in _ABOUT_TEXTS or (status >= 500 and _NEVER.search(reply.text))
        if passing and not about_texts:
            return _PassingError(message, reply.headers)
        way_out = _WAY_OUT.get(status, "check base_url, the key and the account")
        refusal = f"{self._endpoint.shown} refused with {message}"
        if about_texts:
            return RefusedTextsError(refusal, way_out)
        return EncodeError(f"{refusal}; {way_out}")

    def _parse(self, text: str) -> Any:
        try:
            return parse_json(text)
        except ValueError:
            raise EncodeError(
                f"{self._endpoint.shown} replied with something that is not JSON "
                f"({self._shorten(text)}); check that base_url ends where '/embeddings' begins"
            ) from None

    def _server_message(self, text: str) -> str:
        """Read the error that the server reports: its usual fields, else the bare text."""
        try:
            message = parse_json(text)
        except ValueError:
            return self._shorten(text)
        for name in ("error", "message", "detail", "msg"):
            if isinstance(message, dict) and name in message:
                message = message[name]
        return self._shorten(message if isinstance(message, str) else json.dumps(message))

    def _shorten(self, text: str) -> str:
        """One line of at most 200 characters, without the secrets should the server repeat them."""
        for secret in self._endpoint.secrets:
            text = text.replace(secret, "***")
        return one_line(text or "an empty reply")


def _shown(location: str) -> str:
    try:
        return public_address(location)
    except InputError:
        return location.partition("?")[0].rpartition("@")[2]


_KINDS = {"rate_limit": 429, "too_many_requests": 429, "insufficient_quota": 429,
          "overloaded": 503, "unavailable": 503, "server_error": 500, "timeout": 503,
          "auth": 401, "permission": 403, "not_found": 404}  # fmt: skip


def _status_inside(reply: Any) -> int | None:
    """The HTTP status that an error in a reply of status 200 stands for; None for no error.

    Some servers and proxies answer 200 and write the failure into the body. Its code is taken as
    the status where it is one, else the words of its type; any other error may be about the texts.
    """
    if not isinstance(reply, dict) or isinstance(reply.get("data"), list):
        return None
    error = reply.get("error") or reply
    inner = error if isinstance(error, dict) else {"message": error}
    for code in (inner.get(name) for name in ("code", "status", "status_code")):
        if re.fullmatch("[45][0-9][0-9]", str(code)):
            return int(str(code))
    kind = " ".join(str(inner.get(name, "")).lower() for name in ("type", "code"))
    known = (status for word, status in _KINDS.items() if word in kind)
    has_message = any(inner.get(name) for name in ("message", "detail", "msg"))
    return next(known, _BAD_REQUEST if has_message else None)
