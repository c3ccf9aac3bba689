"""The mechanism that runs pages: what is run, what is refused, what is skipped."""

import pytest
from sybil.example import SybilFailure


@pytest.fixture
def write(tmp_path_factory):
    """Write a page."""

    def write(text):
        page = tmp_path_factory.mktemp("pages") / "page.md"
        page.write_text(text)
        return page

    return write


def test_blocks_share_their_names_and_their_folder(write, run_page):
    first = '```python\nfrom pathlib import Path\nPath("a.txt").touch()\n```\n\n'
    ran = run_page(write(first + "```python\nfound = list(Path().iterdir())\n```\n"))
    assert "a.txt" in [path.name for path in ran.names["found"]]
    assert ran.done == 2


def test_a_block_that_fails_fails_the_page(write, run_page):
    with pytest.raises(ZeroDivisionError):
        run_page(write("```python\n1 / 0\n```\n"))


def test_a_command_runs_in_that_folder(write, run_page):
    set_up = """\
<!-- invisible-code: python
import numpy as np
import nestvec as nv

nv.Index.build(np.eye(32, dtype=np.float32), "corpus.nv")
-->
"""
    ran = run_page(write(f"{set_up}\n```console\n$ nestvec info corpus.nv  # all\n...32...\n```\n"))
    assert ran.done == 2


@pytest.mark.parametrize("block", ["```console\n$ nestvec nothing\n```\n", "    nestvec nothing\n"])
def test_a_command_that_fails_fails_the_page(write, run_page, block):
    with pytest.raises(AssertionError, match="exit code 2"):
        run_page(write(block))


def test_output_that_is_not_what_a_command_prints_fails_the_page(write, run_page):
    with pytest.raises(SybilFailure, match="printed:\nnestvec "):
        run_page(write("```console\n$ nestvec --version\nnestvec minus one\n```\n"))


@pytest.mark.parametrize(
    "line", ["$ pip install x", "$ nestvec --version | cat", "nestvec --version"]
)
def test_what_could_not_be_run_is_refused(write, run_page, line):
    with pytest.raises(AssertionError, match=r"only nestvec is run|begins with"):
        run_page(write(f"```console\n{line}\n```\n"))


@pytest.mark.parametrize("language", ["", "bash", "pyhton"])
def test_a_block_of_an_unknown_language_is_refused(write, run_page, language):
    with pytest.raises(AssertionError, match="a block of"):
        run_page(write(f"```{language}\nx\n```\n"))


def test_a_skipped_block_says_why(write, run_page):
    ran = run_page(write('<!-- skip: next "takes an hour" -->\n\n```python\n1 / 0\n```\n'))
    assert ran.skipped == ["takes an hour"]
    assert ran.done == 0


def test_a_block_is_not_skipped_without_a_reason(write, run_page):
    with pytest.raises(AssertionError, match="say why"):
        run_page(write("<!-- skip: next -->\n\n```python\nx = 1\n```\n"))
