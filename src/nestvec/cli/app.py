"""`nestvec`: the commands, and the output of their errors.

Exit codes: 0 done · 1 an error, with one sentence on standard error · 2 wrong usage ·
130 stopped by Ctrl-C.
"""

import logging
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

import nestvec
from nestvec.cli.adapt import adapt
from nestvec.cli.audit import audit
from nestvec.cli.change import add, compact, delete, update
from nestvec.cli.classify import classify
from nestvec.cli.demo import demo
from nestvec.cli.encode import encode
from nestvec.cli.index import index
from nestvec.cli.info import export, info
from nestvec.cli.output import note
from nestvec.cli.renamed import with_new_names
from nestvec.cli.search import search
from nestvec.cli.train import train
from nestvec.cli.truncate import truncate
from nestvec.cli.tune import tune
from nestvec.cli.warmup import warmup
from nestvec.errors import DataError, NestvecError

ERROR, INTERRUPTED = 1, 130


class _Group(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a command. `EOFError` would be taken for Ctrl-D: it is a file that ends too early."""
        try:
            return super().invoke(ctx)
        except EOFError as e:
            raise DataError(
                f"a file ends before its content does ({e or 'no more data'}); restore it"
            ) from e


app = typer.Typer(
    cls=_Group,
    name="nestvec",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (
    encode,
    truncate,
    index,
    search,
    audit,
    tune,
    train,
    add,
    update,
    delete,
    compact,
    export,
    info,
    warmup,
    demo,
):
    app.command()(command)
app.add_typer(adapt, name="adapt")
app.add_typer(classify, name="classify")


def _show_version(wanted: bool) -> bool:
    if wanted:
        print(f"nestvec {nestvec.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Nested (Matryoshka) embeddings: encode texts, index vectors, search them.

    Examples:
      nestvec demo
      nestvec index corpus.jsonl -o corpus.nv
      nestvec search corpus.nv "how to land on water"
    """


class _Notes(logging.Handler):
    """Shows warnings of the library on standard error, a line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message alone."""
        note(record.getMessage())


_NOTES = _Notes(logging.WARNING)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command (`arguments`, or those of the process) and exit with its code."""
    logger = logging.getLogger("nestvec")
    if _NOTES not in logger.handlers:
        logger.addHandler(_NOTES)
    try:
        command_line = sys.argv[1:] if arguments is None else arguments
        app(with_new_names(command_line), prog_name="nestvec")
    except NestvecError as e:
        note(f"error: {_one_line(e)}")
    except OSError as e:
        place = f"{e.filename}: " if e.filename else ""
        note(f"error: {place}{e.strerror or e}; check the path and its permissions")
    except KeyboardInterrupt:  # outside a command, such as while its modules are imported
        sys.exit(INTERRUPTED)
    sys.exit(ERROR)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
