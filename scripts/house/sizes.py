"""Sizes of folders, files, functions and signatures; missing docstrings; names used twice.

- A folder holds at most 20 modules: its `.py` files without `__init__.py`; sub-folders count alone.
- A file has at most 600 lines.
- A public function has at most 10 parameters; `self` and `cls` do not count, `*args` and `**kwargs`
  count as one each. Public means that neither the module, the parents nor the name start with `_`;
  a public class's `__init__` and `__call__` are public, as callers write them. Exempt is `cli`,
  where a command's options are its parameters. A dataclass's fields are not counted.
- Functions over 60 lines (from `def` to the last line) and public functions and classes without a
  docstring are reported, as are classes of one name in several modules, functions named `run`, and
  modules that their package's `__init__` hides behind a function or class of the same name.
"""

import ast
from pathlib import PurePosixPath
from statistics import quantiles

from scripts.house.figure import Figure, count, share
from scripts.house.source import DEFINITIONS, FUNCTIONS, Definition, Function, Module, definitions
from scripts.house.words import (
    MANY_PARAMETERS,
    MAX_FILE_LINES,
    MAX_FUNCTION_LINES,
    MAX_MODULES,
    MAX_PARAMETERS,
    PARAMETER_EXEMPTIONS,
)

CALLED = ("__init__", "__call__")


def folder_sizes(modules: list[Module]) -> dict[str, int]:
    """Number of modules of each folder, `__init__.py` not counted; the fullest folder first."""
    sizes: dict[str, int] = {}
    for path in (PurePosixPath(module.path) for module in modules):
        folder = path.parent.as_posix()
        sizes[folder] = sizes.get(folder, 0) + (path.name != "__init__.py")
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def folder_figures(modules: list[Module]) -> list[Figure]:
    """Modules of the fullest folder."""
    sizes = folder_sizes(modules)
    over = tuple(f"{folder}: {n} modules" for folder, n in sizes.items() if n > MAX_MODULES)
    title = "modules in the fullest folder, __init__ not counted"
    return [Figure("modules_per_folder", title, max(sizes.values()), MAX_MODULES, places=over)]


def file_figures(modules: list[Module]) -> list[Figure]:
    """Number of files and lines, and files that are too long."""
    places = [f"{m.path}: {m.n_lines} lines" for m in modules if m.n_lines > MAX_FILE_LINES]
    return [
        Figure("files", "files", len(modules)),
        Figure("lines", "lines", sum(module.n_lines for module in modules)),
        count("long_files", f"files over {MAX_FILE_LINES} lines", places, 0),
    ]


def function_figures(modules: list[Module]) -> list[Figure]:
    """Lengths of all functions, and the share that is too long."""
    functions = [
        definition for definition in _defined(modules) if isinstance(definition.node, FUNCTIONS)
    ]
    lengths = [n_lines(definition.node) for definition in functions]
    steps = quantiles(lengths, n=10, method="inclusive") if len(lengths) > 1 else lengths * 9
    long = [
        f"{definition.place}: {n_lines(definition.node)} lines"
        for definition in functions
        if n_lines(definition.node) > MAX_FUNCTION_LINES
    ]
    return [
        Figure("function_lines_median", "lines of a function: median", steps[4] if steps else 0),
        Figure("function_lines_p90", "… 90th percentile", steps[8] if steps else 0),
        Figure("function_lines_max", "… longest", max(lengths, default=0)),
        share("long_functions", f"functions over {MAX_FUNCTION_LINES} lines", long, len(functions)),
    ]


def n_lines(node: ast.stmt) -> int:
    """Lines from `def` to the end, decorators not counted."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _is_exempt(module: Module) -> bool:
    """Tell whether the module, or its package, may have functions with more parameters."""
    _, _, name = module.name.partition(".")
    return module.package in PARAMETER_EXEMPTIONS or name in PARAMETER_EXEMPTIONS


def parameter_figures(modules: list[Module]) -> list[Figure]:
    """Most parameters of a public function outside the exempt packages, and of any function."""
    functions = [
        (n_parameters(definition), definition)
        for definition in _defined(modules)
        if isinstance(definition.node, FUNCTIONS)
    ]
    public = [
        (n, definition)
        for n, definition in functions
        if _is_called_by_users(definition) and not _is_exempt(definition.module)
    ]
    over = sorted(
        ((n, definition.place) for n, definition in public if n > MAX_PARAMETERS),
        key=lambda pair: (-pair[0], pair[1]),
    )
    largest = max((n for n, _ in public), default=0)
    places = tuple(f"{place}: {n} parameters" for n, place in over)
    return [
        Figure(
            "public_parameters",
            f"most parameters of a public function ({len(over)} have more than {MAX_PARAMETERS})",
            largest,
            MAX_PARAMETERS,
            places=places,
        ),
        Figure(
            "parameters",
            "most parameters of any function, private and exempt ones too",
            max((n for n, _ in functions), default=0),
        ),
        count(
            "many_parameters",
            f"… and functions with more than {MANY_PARAMETERS}",
            [definition.place for n, definition in functions if n > MANY_PARAMETERS],
        ),
    ]


def n_parameters(definition: Definition) -> int:
    """Parameters that a caller may pass."""
    node = definition.node
    assert isinstance(node, FUNCTIONS)
    spec = node.args
    n = len(spec.posonlyargs) + len(spec.args) + len(spec.kwonlyargs)
    n += (spec.vararg is not None) + (spec.kwarg is not None)
    return n - (_is_method(definition) and not _is_static(node))


def _is_method(definition: Definition) -> bool:
    return bool(definition.parents) and isinstance(definition.parents[-1], ast.ClassDef)


def _is_static(node: Function) -> bool:
    return any(
        isinstance(decorator, ast.Name) and decorator.id == "staticmethod"
        for decorator in node.decorator_list
    )


def _is_called_by_users(definition: Definition) -> bool:
    return definition.public or (definition.reachable and definition.node.name in CALLED)


def documentation_figures(modules: list[Module]) -> list[Figure]:
    """Share of public functions and classes without a docstring; overloads need none."""
    public = [
        definition
        for definition in _defined(modules)
        if definition.public and not _is_overload(definition)
    ]
    bare = [definition.place for definition in public if ast.get_docstring(definition.node) is None]
    title = "public functions and classes without a docstring"
    return [share("undocumented", title, bare, len(public))]


def _is_overload(definition: Definition) -> bool:
    return any(
        ast.unparse(decorator).endswith("overload") for decorator in definition.node.decorator_list
    )


def repeated_name_figures(modules: list[Module]) -> list[Figure]:
    """Public functions named `run`, and public classes of one name in several modules."""
    public = [
        definition
        for definition in _defined(modules)
        if definition.public and not definition.parents
    ]
    runs = [
        definition.place
        for definition in public
        if definition.qualname == "run" and isinstance(definition.node, FUNCTIONS)
    ]
    classes: dict[str, list[str]] = {}
    for definition in public:
        if isinstance(definition.node, ast.ClassDef):
            classes.setdefault(definition.qualname, []).append(definition.module.name)
    repeated = [
        f"{name}: {', '.join(owners)}"
        for name, owners in sorted(classes.items())
        if len(owners) > 1
    ]
    return [
        count("functions_named_run", "public functions named run", runs),
        count("repeated_classes", "class names that several modules use", repeated),
        count("shadowed_modules", "modules hidden by a name of their package", _shadowed(modules)),
    ]


def _shadowed(modules: list[Module]) -> list[str]:
    """Modules `a.b` where `a/__init__.py` binds `b` to something else, such as a function."""
    names = {module.name for module in modules}
    return [
        f"{module.link(node.lineno)} {module.name}.{bound}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, (*DEFINITIONS, ast.ImportFrom))
        for bound, origin in _bound_in(node, module.name)
        if f"{module.name}.{bound}" in names and origin not in names
    ]


def _bound_in(
    node: Function | ast.ClassDef | ast.ImportFrom, package: str
) -> list[tuple[str, str]]:
    """Names that an import or definition binds, and where each comes from, dotted."""
    if not isinstance(node, ast.ImportFrom):
        return [(node.name, "")]
    above = package.split(".")[: -(node.level - 1) or None] if node.level else []
    source = ".".join([*above, *([node.module] if node.module else [])])
    return [(alias.asname or alias.name, f"{source}.{alias.name}") for alias in node.names]


def _defined(modules: list[Module]) -> list[Definition]:
    return [definition for module in modules for definition in definitions(module)]
