"""Modules of a package as syntax trees, with their definitions and the names that they bind."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)


@dataclass(frozen=True, eq=False)
class Module:
    """A parsed module; a package's `__init__.py` has the dotted name of the package."""

    name: str
    path: str
    tree: ast.Module
    n_lines: int

    @property
    def package(self) -> str:
        """First name below the root: a sub-package, or the module itself at the top."""
        return [*self.name.split("."), "__init__"][1]

    @property
    def public(self) -> bool:
        """No part of the dotted name starts with `_`."""
        return not any(part.startswith("_") for part in self.name.split("."))

    def link(self, line: int) -> str:
        """Place to click on: `path:line`."""
        return f"{self.path}:{line}"


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or class of a module, with its path through enclosing definitions."""

    module: Module
    parents: tuple[Function | ast.ClassDef, ...]
    qualname: str
    node: Function | ast.ClassDef

    @property
    def reachable(self) -> bool:
        """Callers can name its parents: public module, public classes, not local to a function."""
        return self.module.public and not any(
            isinstance(parent, FUNCTIONS) or parent.name.startswith("_") for parent in self.parents
        )

    @property
    def public(self) -> bool:
        """Reachable, and its own name has no leading `_`."""
        return self.reachable and not self.node.name.startswith("_")

    @property
    def place(self) -> str:
        """Place and name, for a list."""
        return f"{self.module.link(self.node.lineno)} {self.qualname}"


@dataclass(frozen=True, slots=True)
class Binding:
    """A name that a module binds, with its dotted place (module, scopes, name)."""

    module: Module
    line: int
    name: str
    place: str


def read_package(src: Path) -> list[Module]:
    """Parse every `.py` file below the package folder `src`, in the order of the dotted names."""
    if not (src / "__init__.py").is_file():
        raise SystemExit(f"{src} has no __init__.py; pass the folder of a package")
    return sorted((_read(src, path) for path in src.rglob("*.py")), key=lambda module: module.name)


def _read(src: Path, path: Path) -> Module:
    parts = path.relative_to(src.parent).with_suffix("").parts
    text = path.read_text(encoding="utf-8")
    return Module(
        ".".join(parts[:-1] if parts[-1] == "__init__" else parts),
        path.relative_to(src.parent).as_posix(),
        ast.parse(text, str(path)),
        len(text.splitlines()),
    )


@cache
def definitions(module: Module) -> tuple[Definition, ...]:
    """Functions and classes at any depth, private ones too."""
    return tuple(_definitions(module, module.tree, ()))


def _definitions(
    module: Module, node: ast.AST, parents: tuple[Function | ast.ClassDef, ...]
) -> Iterator[Definition]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, DEFINITIONS):
            names = [parent.name for parent in parents]
            yield Definition(module, parents, ".".join([*names, child.name]), child)
            yield from _definitions(module, child, (*parents, child))
        else:
            yield from _definitions(module, child, parents)


@cache
def bindings(module: Module) -> tuple[Binding, ...]:
    """Every binding, one per place where it is bound, with outer `_` stripped.

    Counted are the module's file or folder name, assigned variables and fields, loop variables,
    arguments except `self` and `cls`, attributes assigned on `self`, functions, classes, and the
    names after `as`. Plain imports are not, as they repeat a name that another module chose, and
    neither are names such as `__init__` and `__all__`, which Python chose.
    """
    last = module.name.rpartition(".")[2]
    module_name = () if _is_dunder(last) else (Binding(module, 1, last.strip("_"), module.name),)
    return (*module_name, *_bindings(module, module.tree, module.name))


def _bindings(module: Module, node: ast.AST, scope: str) -> Iterator[Binding]:
    for child in ast.iter_child_nodes(node):
        bound = _bound_name(child) or ""
        name = bound.strip("_")
        if name and name not in ("self", "cls") and not _is_dunder(bound):
            line = getattr(child, "lineno", 1)
            yield Binding(module, line, name, f"{scope}.{name}")
        inner = f"{scope}.{child.name}" if isinstance(child, DEFINITIONS) else scope
        yield from _bindings(module, child, inner)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _bound_name(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
            return name
        case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.alias(asname=name) | ast.ExceptHandler(name=name):
            return name
        case ast.MatchAs(name=name) | ast.MatchStar(name=name) | ast.MatchMapping(rest=name):
            return name
    return None
