"""Command line of the house style: a table, JSON or Markdown; `--check` fails over a limit."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.house.figure import Figure
from scripts.house.imports import import_figures
from scripts.house.language import (
    docstring_figures,
    language_by_package,
    name_figures,
    private_word_figures,
    word_uses,
    words_by_package,
)
from scripts.house.sizes import (
    documentation_figures,
    file_figures,
    folder_figures,
    folder_sizes,
    function_figures,
    parameter_figures,
    repeated_name_figures,
)
from scripts.house.source import Module, read_package
from scripts.house.words import ALLOWANCES, PARAMETER_EXEMPTIONS

ROOT = Path(__file__).parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Measure a package and print what was asked for; the exit code is 1 over a limit."""
    options = _parser().parse_args(arguments)
    src = options.src.resolve()
    modules = read_package(src)
    if options.where:
        _print("\n".join(place for _, _, place in word_uses(modules, options.where)))
        return 0
    figures = measure(src, modules)
    if options.json:
        _print(json.dumps(to_json(src, modules, figures), indent=1, ensure_ascii=False))
    elif options.markdown:
        _print(to_markdown(modules, figures))
    else:
        _print_table(figures)
    return _check(figures, options.places) if options.check else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.house", description=__doc__)
    parser.add_argument(
        "--src", type=Path, default=ROOT / "src" / "nestvec", help="folder of the package"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 over a limit, with places"
    )
    parser.add_argument("--places", type=int, default=20, help="places per failed limit; 0 = all")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="everything, with every place")
    output.add_argument("--markdown", action="store_true", help="tables for a page")
    output.add_argument("--where", metavar="WORD", help="the places of a word (or pattern)")
    return parser


def measure(src: Path, modules: list[Module]) -> list[Figure]:
    """Every figure of the package in the folder `src`."""
    return [
        *docstring_figures(modules),
        *name_figures(modules),
        *import_figures(src, modules),
        *folder_figures(modules),
        *file_figures(modules),
        *parameter_figures(modules),
        *function_figures(modules),
        *documentation_figures(modules),
        *repeated_name_figures(modules),
        *private_word_figures(modules),
    ]


def to_json(src: Path, modules: list[Module], figures: list[Figure]) -> dict[str, Any]:
    """Figures with their places, and the tables by package."""
    return {
        "package": src.name,
        "figures": {figure.key: {**asdict(figure), "passed": figure.passed} for figure in figures},
        "folders": folder_sizes(modules),
        "packages": language_by_package(modules),
        "private_words": words_by_package(modules),
        "allowances": {entry.pattern: entry.reason for entry in ALLOWANCES},
        "parameter_exemptions": PARAMETER_EXEMPTIONS,
    }


def to_markdown(modules: list[Module], figures: list[Figure]) -> str:
    """Tables of the figures, the packages, the folders and the private words."""
    packages = language_by_package(modules)
    shares = [key for key in packages["all"] if key != "modules"]
    return "\n\n".join(
        [
            _markdown_table(
                ["measure", "value", "limit", "passed"],
                [
                    [figure.title, figure.shown, figure.limit_shown, _verdict(figure)]
                    for figure in figures
                ],
            ),
            _markdown_table(
                ["package", "modules", *(key.replace("_", " ") for key in shares)],
                [
                    [name, str(row["modules"]), *(f"{row[key]:.1%}" for key in shares)]
                    for name, row in packages.items()
                ],
            ),
            _markdown_table(
                ["folder", "modules without __init__"],
                [[name, str(n)] for name, n in folder_sizes(modules).items()],
            ),
            _markdown_table(
                ["private word", "by package: in names + in docstrings"],
                [[word, _uses(row)] for word, row in words_by_package(modules).items()],
            ),
        ]
    )


def _uses(packages: dict[str, dict[str, int]]) -> str:
    return ", ".join(
        f"{name} {uses.get('names', 0)}+{uses.get('docstrings', 0)}"
        for name, uses in packages.items()
    )


def _markdown_table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _verdict(figure: Figure) -> str:
    return {None: "", True: "yes", False: "NO"}[figure.passed]


def _print_table(figures: list[Figure]) -> None:
    table = Table("measure", "value", "limit", "passed")
    for figure in figures:
        table.add_row(figure.title, figure.shown, figure.limit_shown, _verdict(figure))
    Console().print(table)


def _check(figures: list[Figure], n_places: int) -> int:
    """List the places of each limit that is passed over on standard error."""
    failed = [figure for figure in figures if figure.passed is False]
    for figure in failed:
        places = figure.places[: n_places or None]
        n_hidden = len(figure.places) - len(places)
        lines = [f"\n{figure.title}: {figure.shown}, at most {figure.limit_shown}", *places]
        lines += [f"… and {n_hidden} more; --places 0 lists all"] * (n_hidden > 0)
        sys.stderr.write("\n  ".join(lines) + "\n")
    return 1 if failed else 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(main())
