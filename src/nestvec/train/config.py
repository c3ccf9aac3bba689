"""Configuration files: TOML or JSON into frozen dataclasses, with every key and type checked."""

import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from nestvec.deprecation import field_names_before, renamed_keys
from nestvec.errors import DataError, InputError
from nestvec.extras import require
from nestvec.json_text import parse_json

Table = dict[str, Any]
Config = TypeVar("Config")


def read_table(path: Path) -> Table:
    """Read the table in a `.toml` or `.json` file; `DataError` where there is none."""
    if path.suffix not in (".toml", ".json"):
        raise DataError(f"{path} is no configuration file; write a .toml or a .json file")
    try:
        text = path.read_text(encoding="utf-8")
        table = parse_json(text) if path.suffix == ".json" else _toml().loads(text)
    except (ValueError, RecursionError) as e:  # what the parsers and the decoder raise
        raise DataError(f"{path} is not {path.suffix[1:].upper()} ({e}); correct it") from None
    if not isinstance(table, dict):
        raise DataError(f"{path} holds no table; write names and values in it")
    return table


def apply_settings(table: Mapping[str, Any], settings: Sequence[str]) -> Table:
    """Put settings such as `loop.steps=200` into a copy of the table; values are read as TOML.

    A value that is not TOML is taken as text, so that `model.name=minilm` needs no quotes.
    """
    result = dict(table)
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{setting!r} sets nothing; write NAME=VALUE, as in loop.steps=200")
        result = _set_key(result, name.strip().split("."), _value(value.strip()), name)
    return result


def build(
    kind: type[Config],
    table: Mapping[str, Any],
    location: str = "",
    defaults: Config | None = None,
) -> Config:
    """Make a dataclass of a table; nested tables become nested dataclasses.

    `location` is put before names in errors, such as "data.". A setting that the table leaves out
    is taken from `defaults`, or from the default of the field. Settings by their old names are
    read with a `DeprecationWarning`.

    Raises `InputError` for a name that is none of its fields, a value of another type, or a missing
    one. Where a field may be one of several dataclasses, a table's `kind` chooses; without it the
    first is taken.
    """
    table = _with_new_names(kind, table, location)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in table:
        if name not in names:
            similar = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {similar[0]!r}?" if similar else f"it has {', '.join(names)}"
            raise InputError(f"{location}{name} is no setting; {hint}")
    types, default_values = get_type_hints(kind), _defaults(kind, defaults)
    for name in names:
        if name not in table and name not in default_values:
            raise InputError(f"{location}{name} is missing and has no default; add it")
    values = {
        name: _convert(types[name], value, location + name, default_values.get(name))
        for name, value in table.items()
    }
    return kind(**{**default_values, **values})


def _with_new_names(kind: type[Any], table: Mapping[str, Any], location: str) -> Table:
    """Rename the settings that a table has by their old names; no setting may have both."""
    old_names = field_names_before(kind)
    for old, new in old_names.items():
        if old in table and new in table:
            raise InputError(
                f"{location}{old} and {location}{new} are one setting; use {location}{new} alone"
            )
    return renamed_keys(table, old_names, "the configuration")


def _defaults(kind: Any, defaults: object | None) -> Table:
    """Collect the value of each field that a table may leave out."""
    if defaults is not None:
        return {field.name: getattr(defaults, field.name) for field in fields(kind)}
    factories = {
        field.name: field.default_factory
        for field in fields(kind)
        if field.default_factory is not MISSING
    }
    plain = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    return plain | {name: factory() for name, factory in factories.items()}


def _convert(kind: Any, value: Any, location: str, default: Any = None) -> Any:
    """Convert a value to the type of a field; `InputError` where it is of another type."""
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, Mapping):
        return build(kind, value, f"{location}.", default if isinstance(default, kind) else None)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _convert(_member(arguments, value, location), value, location, default)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(arguments[0], item, location) for item in value)
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise InputError(f"{location}={value!r} is not {_format_type(kind)}")


def _member(members: tuple[Any, ...], value: Any, location: str) -> Any:
    """Choose the one of several types that a value is meant as."""
    tables = {_kind(member): member for member in members if is_dataclass(member)}
    if isinstance(value, Mapping) and tables:
        kind = value.get("kind", next(iter(tables)))
        if kind not in tables:
            raise InputError(f"{location}.kind={kind!r} is none of {', '.join(tables)}")
        return tables[kind]
    for member in members:
        if type(value) in _accepted_types(member):
            return member
    return next(member for member in members if member is not NoneType)


def _accepted_types(member: Any) -> set[type]:
    """List the types that a value in a file may have to be converted to this type."""
    if get_origin(member) is Literal:
        return {type(argument) for argument in get_args(member)}
    return {list, tuple} if get_origin(member) is tuple else {member}


def _kind(member: Any) -> Any:
    """Get the `kind` by which a table chooses this dataclass."""
    return next((field.default for field in fields(member) if field.name == "kind"), "")


def _format_type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        return f"a list, each {_format_type(get_args(kind)[0])}"
    if is_dataclass(kind):
        return "a table"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "a text")


def _set_key(table: Table, path: list[str], value: Any, name: str) -> Table:
    key, *remaining = path
    if not remaining:
        return {**table, key: value}
    inner = table.get(key, {})
    if not isinstance(inner, dict):
        raise InputError(f"{name} cannot be set: {key} is {inner!r}, not a table")
    return {**table, key: _set_key(inner, remaining, value, name)}


def _value(text: str) -> Any:
    toml = _toml()
    try:
        return toml.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _toml() -> Any:
    return require("tomllib" if sys.version_info >= (3, 11) else "tomli", "train")
