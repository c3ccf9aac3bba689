"""The recipes by name: from a configuration file's table to a trained model."""

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
    """What a configuration file's `data` and the rest of it are, and what is done with them."""

    read: Callable[[Table], Any]
    config: type[Any]
    train: Callable[..., TrainingResult]


def _pairs(table: Table) -> tuple[Pairs, Pairs]:
    if "images" not in table:
        return build(PairFile, table, "data.").read()
    train, held_out = build(ImageFile, table, "data.").read()
    return Pairs.of_images(train), Pairs.of_images(held_out)


RECIPES: Mapping[str, RecipeSpec] = {
    "text": RecipeSpec(lambda t: build(PairFile, t, "data.").read(), TextConfig, train_text),
    "image": RecipeSpec(lambda t: build(ImageFile, t, "data.").read(), ImageConfig, train_image),
    "clip": RecipeSpec(_pairs, ClipConfig, train_clip),
    "mlm": RecipeSpec(lambda t: build(TextFile, t, "data.").read(), MlmConfig, train_mlm),
}


def train_recipe(
    name: str, table: Table, folder: Path, listen: Listener, *, overwrite: bool = False
) -> TrainingResult:
    """Do what a configuration file says, in `folder`; go on with a run that was begun there.

    The table's `data` names the files; the rest is the recipe's configuration. Logs for TensorBoard
    go into `folder / "logs"`.
    """
    recipe = RECIPES[name]
    rest = {key: value for key, value in table.items() if key != "data"}
    config: Any = build(recipe.config, rest)
    if not isinstance(table.get("data"), dict):
        raise InputError("the configuration has no table [data], which names the files to train on")
    data = recipe.read(table["data"])
    if overwrite:
        RunFolder(folder, {}).clear()
    with tensorboard_listener(folder / "logs") as log:

        def both(moment: StepEvent) -> None:
            log(moment)
            listen(moment)

        return recipe.train(data, config, folder, both)
