"""The README cannot rot: its Python runs, its commands exist, its figures are the measured ones."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nestvec.cli import main

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def test_its_python_does_what_it_says(run_page, capsys):
    pytest.importorskip("sentence_transformers")
    names = run_page(README).names
    assert (names["exact"].ids[:, 0] == [0, 1, 2]).all()
    assert names["encoder"].info.dim == 384
    assert "bytes" in capsys.readouterr().out


def test_its_commands_and_options_exist(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    lines = re.findall(
        r"^    nestvec (\w+) (.*)$", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(lines) >= 6
    for command, rest in lines:
        # A group's options are those of the command within.
        is_group = command in ("adapt", "classify", "train")
        words = [command, rest.split()[0]] if is_group else [command]
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        help_text = capsys.readouterr().out
        for option in re.findall(r"(?<!\S)--?[a-z-]+", rest):
            assert option in help_text, f"nestvec {command} has no {option}"


def test_its_figures_are_those_of_the_result_files():
    subprocess.run([sys.executable, str(ROOT / "benchmarks" / "readme.py"), "--check"], check=True)
