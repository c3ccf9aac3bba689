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
    assert len(names["index"]) == 200
    *hits, report = capsys.readouterr().out.split("\n", 3)
    assert all(re.match(r"0\.\d\d \w", line) for line in hits)
    assert "256 dims" in report


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


def test_its_figures_are_in_tables():
    block = re.search(r"<!-- figures: .*?<!-- end of figures -->", README.read_text(), re.DOTALL)[0]
    sentences = [line for line in block.splitlines() if not line.startswith(("|", "<!--"))]
    assert sum(line.startswith("|") for line in block.splitlines()) >= 12
    assert max(map(len, sentences)) <= 120


def test_its_picture_is_the_one_that_the_script_draws():
    script = ROOT / "scripts" / "draw_readme_picture.py"
    subprocess.run([sys.executable, str(script), "--check"], check=True)
    (picture,) = re.findall(r"!\[.+\]\((.+\.svg)\)", README.read_text(encoding="utf-8"))
    assert (ROOT / picture).is_file()


def test_its_links_lead_to_files():
    links = re.findall(r"\]\(([^)#:]+)[^)]*\)", README.read_text(encoding="utf-8"))
    assert len(links) >= 10
    assert [link for link in links if not (ROOT / link).exists()] == []
