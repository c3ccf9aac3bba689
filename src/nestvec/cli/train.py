"""`nestvec train`: nested models of texts, images, pairs and masked words."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli import options
from nestvec.cli.output import Columns, note, print_json, print_table

if TYPE_CHECKING:
    from nestvec.engine.loop import Listener, StepEvent, TrainingResult
    from nestvec.engine.task import Evaluation

_COLUMNS: Columns = {"size": "right", "held out": "right"}


class Recipe(str, Enum):
    """The recipe of a training run."""

    text = "text"
    image = "image"
    clip = "clip"
    mlm = "mlm"


def train(
    recipe: Annotated[
        Recipe,
        typer.Argument(
            help="text: fine-tune a model on pairs of texts. image: train a classifier. "
            "clip: train two towers, for images and texts or for two kinds of text. "
            "mlm: train a small BERT on masked words."
        ),
    ],
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", metavar="FILE", help="The configuration, a .toml or .json file."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="The folder of the run.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Replace a setting of the file, as in loop.steps=500; may be repeated.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the run in the folder first.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Train a model whose every prefix is usable; the best one is saved in FOLDER/model.

    If you stop a run, the same command continues it. docs/how-to/training.md explains the settings.
    FOLDER/logs holds the curves for TensorBoard.

    Examples:
      nestvec train image --config configs/image.toml -o runs/image
      nestvec train text -c papers.toml -o runs/papers --set loop.steps=500 --set dims=[32,384]
    """
    from nestvec.train.config import apply_settings, read_table
    from nestvec.train.recipes.registry import train_recipe

    table = apply_settings(read_table(config), settings or [])
    with _live() as listen:
        trained = train_recipe(recipe.value, table, output, listen, overwrite=overwrite)
    if json:
        print_json({"recipe": recipe.value, **trained.to_json()})
        return
    _print(trained)


def _print(trained: "TrainingResult") -> None:
    print_table(_COLUMNS, [(size, f"{score:.4f}") for size, score in trained.best.scores.items()])
    ended = "stopped early, " if trained.stopped_early else ""
    print(f"\n{trained.metric}, {ended}best after step {trained.best.step}: {trained.model}")


@contextmanager
def _live() -> Iterator["Listener"]:
    """Print a line for every evaluation; on a terminal also a bar with the latest figures."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("loss {task.fields[loss]:.4f}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[scores]}"),
    )
    off = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=off) as progress:
        task = progress.add_task("", total=None, loss=float("nan"), scores="")

        def listen(moment: "StepEvent") -> None:
            progress.update(task, completed=moment.step, total=moment.steps, loss=moment.loss)
            if moment.evaluation is None:
                return
            scores = _scores_text(moment.evaluation)
            progress.update(task, scores=scores)
            note(
                f"step {moment.step} of {moment.steps}: loss {moment.evaluation.loss:.4f}, {scores}"
            )

        yield listen


def _scores_text(evaluation: "Evaluation") -> str:
    return ", ".join(f"{size}: {score:.3f}" for size, score in evaluation.scores.items())
