"""Pages of the API reference, one for each public room of the package, read from its source.

Nothing is imported and no module is listed by hand: a room that is renamed or added has its page at
the next build.
"""

from pathlib import Path

import griffe

PACKAGE = "nestvec"
INTERNAL = frozenset(
    {"cli", "demo", "deprecation", "exact_top_k", "extras", "kernels"}
    | {"parallel", "self_match", "shapes", "table"}
)
"""Rooms that users call by no import: the command line has its own page."""


def pages(source: Path) -> dict[str, str]:
    """Markdown of the reference by file name, `index.md` first."""
    package = griffe.load(PACKAGE, search_paths=[str(source)])
    assert isinstance(package, griffe.Module), "a package is a module"
    rooms = [
        room
        for name, room in sorted(package.modules.items())
        if not name.startswith("_") and name not in INTERNAL and public_names(room)
    ]
    return {"index.md": _index(package, rooms)} | {f"{room.path}.md": _page(room) for room in rooms}


def public_names(module: griffe.Module) -> list[str]:
    """Names that a module offers: its `__all__`, or else what it defines without an underscore."""
    if module.exports is not None:
        return [str(name) for name in module.exports]
    if module.is_init_module:
        return []
    return [
        name
        for name, member in module.members.items()
        if not name.startswith("_") and not member.is_alias and member.has_docstring
    ]


def lazy_names(package: griffe.Module) -> list[str]:
    """Names that the package loads when they are first used: those it imports for type checkers."""
    return [name for name, member in package.members.items() if not member.runtime]


def signature_classes(room: griffe.Module) -> list[griffe.Class]:
    """Classes that signatures of the room name and it does not export: results and options."""
    exported = {room[name].canonical_path for name in public_names(room)}
    named = {
        name.canonical_path: None
        for public in public_names(room)
        for function in _functions(room[public])
        for annotation in [function.returns, *(part.annotation for part in function.parameters)]
        if isinstance(annotation, griffe.Expr)
        for name in annotation.iterate(flat=True)
        if isinstance(name, griffe.ExprName)
    }
    inside = [path for path in named if path.startswith(f"{room.path}.") and path not in exported]
    found = [room.modules_collection[path] for path in inside]
    return [item for item in found if isinstance(item, griffe.Class) and item.has_docstring]


def _functions(item: griffe.Object | griffe.Alias) -> list[griffe.Function]:
    """A function itself, or the public methods of a class."""
    target = item.final_target if isinstance(item, griffe.Alias) else item
    if isinstance(target, griffe.Function):
        return [target]
    members = target.members.items() if isinstance(target, griffe.Class) else ()
    return [
        member
        for name, member in members
        if isinstance(member, griffe.Function) and not name.startswith("_")
    ]


def _page(room: griffe.Module) -> str:
    """A room, the classes that its signatures name, and its inner rooms that export names."""
    inner = [
        module
        for name, module in sorted(room.modules.items())
        if module.is_init_module and not name.startswith("_") and module.exports
    ]
    parts = [f"---\ntitle: {room.path}\n---\n", _directive(room, 1)]
    classes = [
        f"::: {item.path}\n    options:\n      heading_level: 2\n"
        for item in signature_classes(room)
    ]
    return "\n".join([*parts, *classes, *(_directive(module, 2) for module in inner)])


def _directive(module: griffe.Module, level: int) -> str:
    members = "".join(f"        - {name}\n" for name in public_names(module))
    return (
        f"::: {module.path}\n    options:\n      heading_level: {level}\n      members:\n{members}"
    )


def _index(package: griffe.Module, rooms: list[griffe.Module]) -> str:
    """Two tables: names of the package itself, and rooms."""
    public = {*public_names(package), *lazy_names(package)}
    names = [(name, package[name]) for name in sorted(public, key=str.lower)]
    at_hand = [f"| [`nv.{name}`][{item.target.path}] | {_first(item)} |" for name, item in names]
    listed = [f"| [`{room.path}`]({room.path}.md) | {_first(room)} |" for room in rooms]
    return "\n".join(
        [
            "# API reference",
            "",
            "Generated from the docstrings. `import nestvec as nv` has these names:",
            "",
            "| name | |",
            "|---|---|",
            *at_hand,
            "",
            "## Rooms",
            "",
            "| module | |",
            "|---|---|",
            *listed,
            "",
        ]
    )


def _first(item: griffe.Object | griffe.Alias) -> str:
    """The first paragraph of a docstring, fit for a cell of a table."""
    text = item.docstring.value if item.docstring else ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")
