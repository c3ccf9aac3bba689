"""An encoding into a table that is killed: what was paid for stays, and the file is the same."""

import json
import signal
import subprocess
import sys
import time

import pytest

from .conftest import Reply

N_TEXTS, CHUNK_ROWS = 3_000, 1024


@pytest.mark.door("nestvec encode -o FILE.parquet, killed and begun again", "the same file")
def test_a_killed_encoding_ends_as_one_that_was_not(server, tmp_path):
    pytest.importorskip("pyarrow")
    rows = ({"id": f"d{n}", "text": f"text {n}", "year": n} for n in range(N_TEXTS))
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [
        sys.executable, "-m", "nestvec.cli", "encode", str(tmp_path / "texts.jsonl"), "--model",
        "openai:toy", "--base-url", server.url, "--requests", "1", "--batch-size", "64",
    ]  # fmt: skip
    subprocess.run([*command, "-o", tmp_path / "whole.parquet"], check=True, capture_output=True)
    sent = len(server.sent())

    server.behave = lambda body: Reply(delay_s=0.02)
    server.bodies.clear()
    target = tmp_path / "killed.parquet"
    process = subprocess.Popen([*command, "-o", target], stdout=subprocess.DEVNULL)
    while len(server.sent()) < CHUNK_ROWS + 300:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()

    server.behave = lambda body: None
    server.bodies.clear()
    subprocess.run([*command, "-o", target], check=True, capture_output=True)
    assert len(server.sent()) <= sent - CHUNK_ROWS
    assert target.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {
        "texts.jsonl", "whole.parquet", "killed.parquet",
    }  # fmt: skip
