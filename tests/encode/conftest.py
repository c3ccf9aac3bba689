"""An embedding API on a real socket, and commands that run in this process."""

from collections.abc import Iterator

import pytest

from nestvec.cli import main
from scripts.site.embedding_server import FULL_DIM, EmbeddingServer, Reply, embedding, serving

__all__ = ["FULL_DIM", "EmbeddingServer", "Reply", "embedding"]


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with serving() as state:
        yield state


@pytest.fixture
def no_environment(monkeypatch):
    """Remove every proxy, key and address that the machine may have."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(capsys):
    """Run a command: exit code, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    return run
