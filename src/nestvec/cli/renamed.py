"""Old names of options and of their values: they work, and one note names the new ones."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TypeVar

import typer

from nestvec.cli.output import note

E = TypeVar("E", bound=Enum)


def choices(kind: type[E]) -> str:
    """List the values of an enum, as help shows choices."""
    return f"[{'|'.join(member.value for member in kind)}]"


def renamed_choices(option: str, kind: type[E], names: Mapping[str, str]) -> Callable[[str], E]:
    """Make the parser of an option with the values of an enum and older names (`{old: new}`)."""

    def parse(text: str) -> E:
        if text in names:
            note(f"{option} {text} is now called {names[text]}; please use {names[text]}")
        try:
            return kind(names.get(text, text))
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not one of {choices(kind)}") from None

    return parse


RENAMED_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "adapt": {"--adapter": "--transform", "--out": "--output"},
    "audit": {
        "--edits": "--counterfactuals",
        "--no-edits": "--no-counterfactuals",
        "--noisy": "--perturbed",
        "--out": "--output",
        "--strangers": "--ood-queries",
    },
    "classify": {"--chain": "--threshold-search"},
    "index": {"--adapter": "--transform"},
    "tune": {
        "--all": "--perfect-recall",
        "--check": "--check-drift",
        "--containment": "--shortlist-recall",
        "--keep": "--save",
        "--no-keep": "--no-save",
    },
}
"""Options of a command that have new names and take the same values."""


def with_new_names(arguments: Sequence[str]) -> list[str]:
    """Replace old names of options on a command line, each with one note on standard error."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    names = RENAMED_OPTIONS.get(command, {})
    renamed = []
    for word in arguments:
        option, equals, value = word.partition("=")
        if option in names:
            note(f"{option} is now called {names[option]}; please use {names[option]}")
            word = names[option] + equals + value
        renamed.append(word)
    return renamed
