"""`nestvec demo`: a measurement of the savings and costs of nested codes, on this machine."""

import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli import options
from nestvec.cli.output import Columns, note, print_json, print_table, short_path, size

if TYPE_CHECKING:
    from nestvec.demo import DemoReport

_COLUMNS: Columns = {
    "search": "left", "nDCG@10": "right", "recall@10": "right", "B/vector": "right",
    "read": "right", "µs": "right", "speed": "right",
}  # fmt: skip


def demo(
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to leave its files.")
    ] = Path("nestvec-demo"),
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Take the first N documents only.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Embed, index and search 4,009 arXiv abstracts, and measure what it saves and costs.

    The first run embeds the texts, which takes a minute or two; later runs reuse the vectors.

    Examples:
      nestvec demo
      nestvec demo -o /tmp/demo --limit 500 --json
    """
    from nestvec.demo import run_demo
    from nestvec.progress import bar

    if not json:
        note("Embedding arXiv abstracts (a minute or two, the first time), then measuring.")
    report = run_demo(folder, limit=limit, progress=bar)
    commands = _next_commands(report)
    if json:
        print_json({**asdict(report), "summary": report.summary(), "next": commands})
        return
    _print_report(report)
    print("\nNext:")
    for command in commands:
        print(f"  {command}")


def _print_report(report: "DemoReport") -> None:
    print(
        f"{report.rows:,} arXiv abstracts, {report.queries} titles as queries, "
        f"{report.dim} dims by {report.model}"
    )
    print(
        "recall@10: of exact search · B/vector: read of each vector by the first stage · read: in "
        "all, per query"
    )
    print(
        f"µs: per query, one at a time on one thread, median of {report.rounds} rounds in turns · "
        "speed: against the float scan"
    )
    print()
    exact = report.best("float scan")
    print_table(
        _COLUMNS,
        [
            (
                r.name, f"{r.ndcg:.4f}", f"{r.recall:.4f}", f"{r.scan_bytes:,.0f}",
                size(r.read_bytes), f"{r.time_us:.0f}", f"{exact.time_us / r.time_us:.2f}x",
            )
            for r in report.results
        ],
    )  # fmt: skip
    print()
    for sentence in report.summary():
        print(f"- {sentence}")
    print(f"\nPicture: {report.chart}")


def _next_commands(report: "DemoReport") -> list[str]:
    """List commands to try next, from the folder in which the demo was started."""
    program, index = _program(), short_path(report.index)
    return [
        f'{program} search {index} "robots that learn from watching people" -k 3',
        f'{program} search {index} "robots that learn from watching people" '
        '--plan "probe=all; 128x1:50 > full" --stats',
        f"{program} search {index}",
        f"{program} info {index} --verify",
        f"{program} index --help",
    ]


def _program() -> str:
    """Name the command that calls this program: by name if the path leads here."""
    called = Path(sys.argv[0])
    if called.name != "nestvec":
        return "python -m nestvec.cli"
    path = shutil.which("nestvec")
    return "nestvec" if path and Path(path).samefile(called) else str(called)
