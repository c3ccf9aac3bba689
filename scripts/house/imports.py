"""Import circles among the modules of a package, late imports included.

A circle is a strongly connected component of two or more modules in the graph of imports, which
grimp reads from the source:

- An import counts wherever it stands: at the top, inside a function (late) or under
  `if TYPE_CHECKING` (typing). The limit is on all three together; the narrower counts are reported.
- `from package import name` is an import of the sub-module where `name` is one, and of the
  package's `__init__` otherwise.
- Importing `a.b.c` also runs `a/__init__` and `a/b/__init__`, so the importer depends on them too,
  unless they are its own ancestors: an `__init__` that re-exports its children is their face and
  makes no circle. A child that imports a name from its own ancestor's `__init__` does.
- Imports by string (`importlib.import_module`) are not seen.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grimp
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from scripts.house.figure import Figure, count
from scripts.house.source import FUNCTIONS, Module, definitions

TOP, LATE, TYPING = "top", "late", "typing"


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a module of the same package."""

    importer: str
    imported: str
    line: int
    kind: str


def read_imports(src: Path, modules: list[Module]) -> list[Import]:
    """Every import inside the package at `src`, in order, with its kind."""
    everything = _graph(src, typing=True)
    running = _graph(src, typing=False)
    unseen = sorted({module.name for module in modules} - everything.modules)
    if unseen:
        raise SystemExit(
            f"imports of {unseen[0]} are not seen; add the missing __init__.py above it"
        )
    lines = {module.name: _late_lines(module) for module in modules}
    return sorted(
        (
            Import(importer, imported, line, _kind(line, lines[importer], running_lines))
            for importer in sorted(everything.modules)
            for imported in sorted(everything.find_modules_directly_imported_by(importer))
            for running_lines in [_lines(running, importer, imported)]
            for line in _lines(everything, importer, imported)
        ),
        key=lambda item: (item.importer, item.line, item.imported),
    )


def _graph(src: Path, *, typing: bool) -> grimp.ImportGraph:
    """Graph of the package in the folder `src` itself, not of an installed one of that name."""
    sys.path.insert(0, str(src.parent))
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(src.name)
        if spec is None or spec.origin is None or Path(spec.origin).parent != src:
            raise SystemExit(
                f"{src.name} is already imported from elsewhere; measure {src} in a new process"
            )
        return grimp.build_graph(src.name, cache_dir=None, exclude_type_checking_imports=not typing)
    finally:
        sys.path.remove(str(src.parent))


def _lines(graph: grimp.ImportGraph, importer: str, imported: str) -> list[int]:
    details = graph.get_import_details(importer=importer, imported=imported)
    return sorted({detail["line_number"] for detail in details})


def _late_lines(module: Module) -> set[int]:
    return {
        line
        for definition in definitions(module)
        if isinstance(definition.node, FUNCTIONS)
        for line in range(
            definition.node.lineno, (definition.node.end_lineno or definition.node.lineno) + 1
        )
    }


def _kind(line: int, late: set[int], running: list[int]) -> str:
    if line not in running:
        return TYPING
    return LATE if line in late else TOP


def find_circles(imports: list[Import], modules: list[Module]) -> list[list[str]]:
    """Modules of each circle, the largest circle first."""
    names = [module.name for module in modules]
    rows = {name: row for row, name in enumerate(names)}
    pairs = [(rows[item.importer], rows[name]) for item in imports for name in _dependencies(item)]
    if not pairs:
        return []
    starts, ends = np.array(pairs).T
    graph = coo_array((np.ones(len(pairs)), (starts, ends)), shape=(len(names), len(names)))
    _, component = connected_components(graph.tocsr(), connection="strong")
    circles = [
        [names[row] for row in np.flatnonzero(component == label)] for label in set(component)
    ]
    return sorted(
        (circle for circle in circles if len(circle) > 1), key=lambda circle: (-len(circle), circle)
    )


def _dependencies(item: Import) -> Iterator[str]:
    """Imported module, and the packages around it that are not around the importer."""
    name = item.imported
    yield name
    while "." in name:
        name = name.rpartition(".")[0]
        if not f"{item.importer}.".startswith(f"{name}."):
            yield name


def import_figures(src: Path, modules: list[Module]) -> list[Figure]:
    """Circles of all imports, of those that run, and of those that run at import."""
    imports = read_imports(src, modules)
    kinds = [
        ("circles", "import circles, late and typing imports included", {TOP, LATE, TYPING}, 0),
        ("circles_when_run", "… without typing imports", {TOP, LATE}, None),
        ("circles_at_import", "… of imports at the top alone", {TOP}, None),
    ]
    figures = []
    for key, title, wanted, limit in kinds:
        circles = find_circles([item for item in imports if item.kind in wanted], modules)
        places = [f"{len(circle)} modules: {', '.join(circle)}" for circle in circles]
        figures.append(count(key, title, places, limit))
    return [*figures, *(_kind_figure(kind, imports) for kind in (LATE, TYPING))]


def _kind_figure(kind: str, imports: list[Import]) -> Figure:
    places = [
        f"{item.importer}:{item.line} {item.imported}" for item in imports if item.kind == kind
    ]
    return count(f"{kind}_imports", f"{kind} imports of the package's own modules", places)
