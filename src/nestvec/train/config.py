"""Configurations from files: TOML or JSON into frozen dataclasses, every key and type checked."""

import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from nestvec.errors import DataError, InputError
from nestvec.extras import require

Table = dict[str, Any]
Config = TypeVar("Config")


def read_table(path: Path) -> Table:
    """The table in a `.toml` or `.json` file, else `DataError`."""
    if path.suffix not in (".toml", ".json"):
        raise DataError(f"{path} is no configuration; write a .toml or a .json file")
    try:
        text = path.read_text(encoding="utf-8")
        table = json.loads(text) if path.suffix == ".json" else _toml().loads(text)
    except ValueError as e:  # also what both parsers and the decoder raise
        raise DataError(f"{path} is not {path.suffix[1:].upper()} ({e}); mend it") from None
    if not isinstance(table, dict):
        raise DataError(f"{path} holds no table of names and values")
    return table


def apply_settings(table: Mapping[str, Any], settings: Sequence[str]) -> Table:
    """The table with settings such as `loop.steps=200` put in; values are read as TOML.

    What is no TOML value is taken as text, so that `model.name=minilm` needs no quotes.
    """
    changed = dict(table)
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{setting!r} sets nothing; write NAME=VALUE, as in loop.steps=200")
        changed = _put(changed, name.strip().split("."), _value(value.strip()), name)
    return changed


def build(
    kind: type[Config], table: Mapping[str, Any], where: str = "", usual: Config | None = None
) -> Config:
    """A dataclass from a table; nested tables become nested dataclasses.

    What a table leaves out is as in `usual`, or as in the dataclass that a field has by default.

    Raises `InputError` for a name that is none of its fields, a value of another type, or a missing
    one. Of several dataclasses that a field may be, a table's `kind` chooses; else it is the first.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in table:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise InputError(f"{where}{name} is no setting; {hint}")
    types, defaults = get_type_hints(kind), _defaults(kind, usual)
    for name in known:
        if name not in table and name not in defaults:
            raise InputError(f"{where}{name} is missing; there is no usual value for it")
    values = {
        name: _convert(types[name], value, where + name, defaults.get(name))
        for name, value in table.items()
    }
    return kind(**{**defaults, **values})


def _defaults(kind: Any, usual: object | None) -> Table:
    """What each field is when nobody says."""
    if usual is not None:
        return {field.name: getattr(usual, field.name) for field in fields(kind)}
    factories = {
        field.name: field.default_factory
        for field in fields(kind)
        if field.default_factory is not MISSING
    }
    plain = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    return plain | {name: factory() for name, factory in factories.items()}


def _convert(kind: Any, value: Any, where: str, usual: Any = None) -> Any:
    """The value as a field of this type, else `InputError`."""
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, Mapping):
        return build(kind, value, f"{where}.", usual if isinstance(usual, kind) else None)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _convert(_member(arguments, value, where), value, where, usual)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(arguments[0], item, where) for item in value)
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise InputError(f"{where}={value!r} is not {_told(kind)}")


def _member(members: tuple[Any, ...], value: Any, where: str) -> Any:
    """Which of several types a value is to be of."""
    tables = {_kind(member): member for member in members if is_dataclass(member)}
    if isinstance(value, Mapping) and tables:
        chosen = value.get("kind", next(iter(tables)))
        if chosen not in tables:
            raise InputError(f"{where}.kind={chosen!r} is none of {', '.join(tables)}")
        return tables[chosen]
    for member in members:
        if type(value) in _forms(member):
            return member
    return next(member for member in members if member is not NoneType)


def _forms(member: Any) -> set[type]:
    """The types that a value in a file has, to be meant as one of this type."""
    if get_origin(member) is Literal:
        return {type(argument) for argument in get_args(member)}
    return {list, tuple} if get_origin(member) is tuple else {member}


def _kind(member: Any) -> Any:
    """What a table's `kind` is to be to mean this dataclass."""
    return next((field.default for field in fields(member) if field.name == "kind"), "")


def _told(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        return f"a list, each {_told(get_args(kind)[0])}"
    if is_dataclass(kind):
        return "a table"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "a text")


def _put(table: Table, path: list[str], value: Any, name: str) -> Table:
    first, *rest = path
    if not rest:
        return {**table, first: value}
    inner = table.get(first, {})
    if not isinstance(inner, dict):
        raise InputError(f"{name} cannot be set: {first} is {inner!r}, not a table")
    return {**table, first: _put(inner, rest, value, name)}


def _value(text: str) -> Any:
    toml = _toml()
    try:
        return toml.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _toml() -> Any:
    return require("tomllib" if sys.version_info >= (3, 11) else "tomli", "train")
