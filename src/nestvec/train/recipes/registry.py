"""The recipes by name, each from the table of a configuration file to a trained model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestvec.engine.checkpoint import RunFolder
from nestvec.engine.loop import Listener, StepEvent, TrainingResult
from nestvec.engine.tensorboard import tensorboard_listener
from nestvec.errors import InputError
from nestvec.train.config import Table, build
from nestvec.train.data.images import ImageFile
from nestvec.train.data.pairs import PairFile, Pairs
from nestvec.train.recipes.clip import ClipConfig, train_clip
from nestvec.train.recipes.image import ImageConfig, train_image
from nestvec.train.recipes.mlm import MlmConfig, TextFile, train_mlm
from nestvec.train.recipes.text import TextConfig, train_text


@dataclass(frozen=True, slots=True)
class RecipeSpec:
    """A recipe: the reader of its data, the type of its settings, and its training function."""

    read: Callable[[Table], Any]
    config: type[Any]
    train: Callable[..., TrainingResult]


def _pairs(table: Table) -> tuple[Pairs, Pairs]:
    if "images" not in table:
        return build(PairFile, table, "data.").read()
    train, held_out = build(ImageFile, table, "data.").read()
    return Pairs.from_images(train), Pairs.from_images(held_out)


RECIPES: Mapping[str, RecipeSpec] = {
    "text": RecipeSpec(lambda t: build(PairFile, t, "data.").read(), TextConfig, train_text),
    "image": RecipeSpec(lambda t: build(ImageFile, t, "data.").read(), ImageConfig, train_image),
    "clip": RecipeSpec(_pairs, ClipConfig, train_clip),
    "mlm": RecipeSpec(lambda t: build(TextFile, t, "data.").read(), MlmConfig, train_mlm),
}


def train_recipe(
    name: str, table: Table, folder: Path, listen: Listener, *, overwrite: bool = False
) -> TrainingResult:
    """Train a recipe by a configuration table in `folder`, or resume the run there.

    The table's `data` names the files; all else is the recipe's configuration. Logs for TensorBoard
    go into `folder / "logs"`. `overwrite` removes the run in the folder first.
    """
    recipe = RECIPES[name]
    settings = {key: value for key, value in table.items() if key != "data"}
    config: Any = build(recipe.config, settings)
    if not isinstance(table.get("data"), dict):
        raise InputError(
            "the configuration has no table [data]; add one that names the files to train on"
        )
    data = recipe.read(table["data"])
    if overwrite:
        RunFolder(folder, {}).clear()
    with tensorboard_listener(folder / "logs") as log:

        def log_and_listen(event: StepEvent) -> None:
            log(event)
            listen(event)

        return recipe.train(data, config, folder, log_and_listen)
