"""Type checkers find nothing in a script that uses every public name."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nestvec

HERE = Path(__file__).parent
SCRIPT = HERE / "user_script.py"
SRC = HERE.parents[1] / "src"


def test_the_script_uses_every_public_name():
    used = set(re.findall(r"\bnv\.(\w+)", SCRIPT.read_text()))
    assert used == {name for name in dir(nestvec) if not name.startswith("_")}


def test_mypy_strict_finds_nothing(tmp_path):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}", str(SCRIPT)]
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nfollow_imports_for_stubs = True\n")
    done = subprocess.run(
        [*command, f"--config-file={config}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_pyright_finds_nothing(tmp_path):
    pytest.importorskip("basedpyright")
    settings = {"typeCheckingMode": "standard", "include": [str(SCRIPT)], "extraPaths": [str(SRC)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--project", str(tmp_path)]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
