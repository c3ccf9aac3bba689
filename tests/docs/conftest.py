"""Run the code of a page as its reader would: in order, in one folder and one namespace.

What a block is, says its fence:

- `python` runs; blocks of a page share their names
- `console` runs its lines `$ nestvec …` in this process; what stands under a command must be its
  output, where `...` is any text and `#` begins a comment after a command
- the languages of `SHOWN` are data or output, and are not run

The folder holds `data/`, the files of the tutorials. A block after `<!-- skip: next "reason" -->`
is not run. `<!-- invisible-code: python … -->` holds set-up that a reader need not see.
"""

import doctest
import io
import re
import shlex
import shutil
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from nestvec.cli import main

ROOT = Path(__file__).parents[2]
RUN, SHOWN = frozenset({"python", "console"}), frozenset({"json", "text", "toml", "xml"})
_LANGUAGE = re.compile(r"(?P<language>[^\n]*)\n")
_INDENTED = re.compile(r"(?m)(?:^ {4}nestvec .*\n)+")
_PROMPT = "$ "
_SHELL = frozenset({"|", "<", ">", ">>", "&&", ";"})
_OUTPUT = doctest.OutputChecker()
_LIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Ran:
    """What became of the blocks of a page."""

    names: dict[str, Any]
    """The namespace of its Python."""
    done: int
    skipped: list[str]
    """Why, for each block that was not run."""


@pytest.fixture
def run_page(tmp_path, monkeypatch):
    """Run a page of Markdown in a folder that holds `data/`, the vectors of the tutorials."""

    def run(page: Path) -> Ran:
        shutil.copytree(ROOT / "docs" / "tutorials" / "data", tmp_path / "data")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MPLBACKEND", "agg")
        monkeypatch.setenv("COLUMNS", "120")
        return evaluate(page)

    return run


def evaluate(page: Path) -> Ran:
    """Run the blocks of a page here and now; the first one that fails raises."""
    parsers = [
        PythonCodeBlockParser(),
        CodeBlockParser("console", _run_console),
        _indented_commands,
        SkipParser(),
    ]
    text = page.read_text(encoding="utf-8")
    _refuse_unknown_languages(Document(text, str(page)))
    document = Sybil(parsers=parsers).parse(page)
    done, skipped = 0, []
    for example in document.examples():
        if example.parsed == ("next", None):
            raise AssertionError(f'{page}, line {example.line}: say why: skip: next "reason"')
        try:
            example.evaluate()
        except SkipTest as e:
            skipped.append(str(e))
        else:
            done += not isinstance(example.parsed, tuple)  # a marker to skip is no block
    return Ran(document.namespace, done, skipped)


def _refuse_unknown_languages(document: Document) -> None:
    for region in RawFencedCodeBlockLexer(_LANGUAGE)(document):
        language = region.lexemes["language"].strip()
        if language not in RUN | SHOWN:
            place = document.line_column(region.start)
            known = ", ".join(sorted(RUN | SHOWN))
            raise AssertionError(f"{document.path}, {place}: a block of {language!r}; use {known}")


def _indented_commands(document: Document) -> Iterable[Region]:
    """Blocks of lines `nestvec …` that are indented by four spaces, without a prompt or output."""
    for match in _INDENTED.finditer(document.text):
        lines = [_PROMPT + line.strip() for line in match[0].splitlines()]
        yield Region(match.start(), match.end(), "\n".join(lines), _run_console)


def _run_console(example: Example) -> str | None:
    """Run the commands of a block; what Sybil shows if one prints something else than the page."""
    for command in _commands(example.parsed):
        printed = _run(command.line)
        shown = "\n".join(command.output).strip()
        if shown and not _OUTPUT.check_output(shown + "\n", printed.strip() + "\n", _LIKE):
            return f"$ {command.line}\nexpected:\n{shown}\nprinted:\n{printed}"
    return None


@dataclass(frozen=True)
class _Command:
    line: str
    output: list[str] = field(default_factory=list)


def _commands(text: str) -> list[_Command]:
    commands: list[_Command] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith(_PROMPT):
            commands.append(_Command(line.removeprefix(_PROMPT)))
        elif commands:
            commands[-1].output.append(line)
        else:
            raise AssertionError(f"a block of console begins with '{_PROMPT}', not with {line!r}")
    return commands


def _run(line: str) -> str:
    """What a command prints, both streams in one."""
    words = shlex.split(line, comments=True)
    if words[0] != "nestvec" or _SHELL & set(words):
        raise AssertionError(f"only nestvec is run, and no shell: skip this or write it so: {line}")
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed), pytest.raises(SystemExit) as exit_:
        main(words[1:])
    if exit_.value.code:
        raise AssertionError(f"exit code {exit_.value.code} of: {line}\n{printed.getvalue()}")
    return printed.getvalue()
