"""The page of the command line, from the commands' own help."""

import re

from typer import Context
from typer.cli import get_docs_for_click
from typer.main import get_command

from nestvec.cli.app import app

_COMMANDS = re.compile(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n?")
_EXAMPLES = re.compile(r"^Examples:\n((?:  .*\n)+)", re.MULTILINE)


def page() -> str:
    """Every command with its arguments, options and examples."""
    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=Context(command), name="nestvec")
    text = _COMMANDS.sub("", text)  # the headings below list them, with help that is not cut
    text = _EXAMPLES.sub(lambda match: f"```text\n{_outdented(match[1])}```\n", text)
    return text.replace("# `nestvec`", "# Command line", 1)


def _outdented(lines: str) -> str:
    return re.sub(r"^  ", "", lines, flags=re.MULTILINE)
