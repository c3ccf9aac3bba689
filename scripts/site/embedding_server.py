"""A server that behaves like `/v1/embeddings`, on a real socket: for transcripts and for tests."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np

FULL_DIM = 8


def embedding(text: str, dimensions: int = FULL_DIM) -> np.ndarray:
    """The server's model: a vector drawn from the text, cut and renormalised as OpenAI does."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(FULL_DIM)[:dimensions]
    return vector / np.linalg.norm(vector)


def right_reply(body: dict[str, Any]) -> dict[str, Any]:
    """The reply of a server that does its duty; out of order, as the protocol allows."""
    dimensions = body.get("dimensions", FULL_DIM)
    data = [
        {"index": i, "object": "embedding", "embedding": embedding(text, dimensions).tolist()}
        for i, text in enumerate(body["input"])
    ]
    return {"object": "list", "model": body["model"], "data": data[::-1]}


@dataclass(frozen=True)
class Reply:
    """What the server answers, `delay_s` later. `edit` changes the right reply's JSON."""

    status: int = 200
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    edit: Callable[[dict[str, Any]], Any] = lambda reply: reply

    def text(self, request: dict[str, Any]) -> str:
        return self.body if self.body is not None else json.dumps(self.edit(right_reply(request)))


@dataclass
class EmbeddingServer:
    """Answers rightly, once the replies of its script have been given."""

    url: str = ""
    script: list[Reply] = field(default_factory=list)
    behave: Callable[[dict[str, Any]], Reply | None] = lambda body: None
    """The reply to a request that it minds, such as one of too many texts."""
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def then(self, times: int = 1, **reply: Any) -> None:
        """Give this reply next, so many times."""
        self.script.extend([Reply(**reply)] * times)

    def rows(self, texts: list[str], dimensions: int = FULL_DIM) -> np.ndarray:
        """What an encoder must return."""
        return np.stack([embedding(text, dimensions) for text in texts]).astype(np.float32)

    def answer(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        self.bodies.append(body)
        self.paths.append(path)
        self.headers.append(headers)
        self.keys.append(headers.get("Authorization"))
        # As a proxy it is sent whole addresses; Azure's have a path of their own.
        if not urlsplit(path).path.endswith(("/v1/embeddings", "/deployments/toy/embeddings")):
            return Reply(404, '{"error": {"message": "no such page"}}')
        if self.script:
            return self.script.pop(0)
        return self.behave(body) or Reply()

    def sent(self) -> list[str]:
        """The texts of all requests but those that learn the width."""
        return [text for body in self.bodies for text in body["input"] if text != "width"]


@contextmanager
def serving() -> Iterator[EmbeddingServer]:
    """Run a server at a free port of this machine."""
    state = EmbeddingServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Without this each small reply waits 40 ms for the client's acknowledgement.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = state.answer(self.path, body, dict(self.headers))
            time.sleep(reply.delay_s)
            content = reply.text(body).encode()
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:
                self.close_connection = True  # the client gave up waiting, as it should

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        state.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()
