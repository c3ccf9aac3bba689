"""JSON over HTTP to one address, with patience for a busy server and clear words for the rest."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from nestvec.encode.address import public_address
from nestvec.encode.foreign import one_line
from nestvec.encode.retry import Retry, named_wait_s
from nestvec.errors import EncodeError
from nestvec.extras import require

# Worth another try, as is every 5xx: the server was slow, busy or broken.
_PASSING = frozenset({408, 409, 425, 429})

_WAY_OUT = {
    400: "check the model name and the dimensions, and that no text is empty or too long",
    401: "check the key",
    403: "check what the key is allowed to do",
    404: "check base_url and the model name",
    413: "send less at a time with smaller Limits",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address, the key for it, and how patiently to ask."""

    url: str = field(repr=False)
    key: str | None = field(repr=False)
    timeout_s: float
    retry: Retry

    @property
    def shown(self) -> str:
        """The address for messages, without credentials."""
        return public_address(self.url)

    @contextmanager
    def connect(self) -> Iterator["Connection"]:
        """A connection to share between the threads of one run."""
        httpx = require("httpx", "api")
        headers = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(timeout=self.timeout_s, headers=headers) as client:
            yield Connection(self, client)


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
                        "try again later, or allow more with Retry(attempts=...)"
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
        httpx = require("httpx", "api")
        try:
            reply = self._client.post(self._endpoint.url, json=body)
        except httpx.TimeoutException as e:
            raise _PassingError(f"no reply within {self._endpoint.timeout_s:g} s", {}) from e
        except httpx.RequestError as e:
            raise _PassingError(f"a broken connection ({type(e).__name__}: {e})", {}) from e
        if reply.status_code == 200:
            self._note_limits(reply.headers)
            return self._parse(reply.text)
        message = f"status {reply.status_code}: {self._server_message(reply.text)}"
        # An empty account is reported as 429 too, but waiting does not fill it.
        passing = reply.status_code in _PASSING or reply.status_code >= 500
        if passing and "insufficient_quota" not in reply.text:
            raise _PassingError(message, reply.headers)
        way_out = _WAY_OUT.get(reply.status_code, "check base_url, the key and the account")
        raise EncodeError(f"{self._endpoint.shown} refused with {message}; {way_out}")

    def _parse(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise EncodeError(
                f"{self._endpoint.shown} replied with something that is not JSON "
                f"({self._shorten(text)}); check that base_url ends where '/embeddings' begins"
            ) from None

    def _server_message(self, text: str) -> str:
        """Read the error that the server reports: its usual fields, else the bare text."""
        try:
            message = json.loads(text)
        except ValueError:
            return self._shorten(text)
        for name in ("error", "message", "detail"):
            if isinstance(message, dict) and name in message:
                message = message[name]
        return self._shorten(message if isinstance(message, str) else json.dumps(message))

    def _shorten(self, text: str) -> str:
        """One line of at most 200 characters, without the key should the server repeat it."""
        if self._endpoint.key:
            text = text.replace(self._endpoint.key, "***")
        return one_line(text or "an empty reply")
