"""Old names of options and of their values: they work, and one note names the new ones."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import click

from nestvec.cli.output import note
from nestvec.errors import InputError

V = TypeVar("V")


def take_renamed(old: str, old_value: V | None, new: str, new_value: V | None) -> V | None:
    """Choose between the values of an option by its old and its new name.

    `InputError` where a command line has both.
    """
    if not old_value:
        return new_value
    if new_value:
        raise InputError(f"{old} and {new} are one option; leave {old} out")
    note(f"{old} is now called {new}; please use {new}")
    return old_value


class RenamedChoice(click.Choice):  # type: ignore[type-arg]  # generic since click 8.2
    """Choices of which some had other names before (`{old: new}`); help shows the new ones."""

    def __init__(self, option: str, choices: Sequence[str], names: Mapping[str, str]) -> None:
        super().__init__(choices)
        self._option, self._names = option, names

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Replace an old name, with a note, and check the choice."""
        if value in self._names:
            new = self._names[value]
            note(f"{self._option} {value} is now called {new}; please use {new}")
            value = new
        return super().convert(value, param, ctx)


RENAMED_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "tune": {
        "--all": "--perfect-recall",
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
