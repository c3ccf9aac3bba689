"""A writer may die at any moment: what it had committed stays, what it had not never was.

Seen to fail by hand on broken builds: docs/explanation/decisions/0013.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_a_writer_killed_at_any_moment_loses_nothing_and_leaves_nothing(tmp_path, soak):
    rounds = 2500 if soak else 40
    command = [sys.executable, str(Path(__file__).with_name("kill.py")), str(tmp_path)]
    # One thread of BLAS: the writers are forked.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(rounds), "1"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    cut = json.loads(done.stdout)
    if soak:
        kinds = ("build", "add", "delete", "update", "compact")
        assert min(cut[kind] for kind in kinds) >= 200, cut
    else:
        assert sum(cut.values()) == pytest.approx(rounds)
