"""Configuration files: read exactly, or refused with the name of the setting."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from nestvec.errors import DataError, InputError
from nestvec.train import ClipConfig, ImageConfig, Loop, MlmConfig, TextConfig
from nestvec.train.config import apply_settings, build, read_table
from nestvec.train.data.pairs import PairFile
from nestvec.train.models.bert import Bert
from nestvec.train.models.image_model import ResNet, ViT
from nestvec.train.recipes.contrastive import Mining
from nestvec.train.recipes.registry import RECIPES, train_recipe

CONFIGS = Path(__file__).parents[2] / "configs"
TOML = """
dims = [4, 8]
weights = [2, 1]
[model]
kind = "vit"
patch = 2
[loop]
steps = 7
learning_rate = 1
patience = 2
"""
EXPECTED = ImageConfig(
    dims=(4, 8),
    model=ViT(patch=2),
    weights=(2.0, 1.0),
    loop=Loop(steps=7, learning_rate=1.0, patience=2),
)


def test_toml_and_json_say_the_same(tmp_path):
    (tmp_path / "a.toml").write_text(TOML)
    table = read_table(tmp_path / "a.toml")
    (tmp_path / "a.json").write_text(json.dumps(table))
    assert build(ImageConfig, table) == build(ImageConfig, read_table(tmp_path / "a.json"))
    assert build(ImageConfig, table) == EXPECTED


def test_an_empty_table_is_the_usual_configuration():
    assert build(ImageConfig, {}) == ImageConfig()


def test_options_override_and_add():
    settings = ["loop.steps=9", "dims=[2, 3]", "weights=front", "model.kind=resnet"]
    table = apply_settings({"dims": [4], "loop": {"steps": 1, "seed": 2}}, settings)
    assert build(ImageConfig, table) == ImageConfig(
        dims=(2, 3), weights="front", model=ResNet(), loop=Loop(steps=9, seed=2)
    )


def test_what_a_table_leaves_out_is_as_the_recipe_has_it():
    usual = TextConfig().loop
    assert build(TextConfig, {"loop": {"steps": 7}}).loop == replace(usual, steps=7)
    assert usual.learning_rate != Loop().learning_rate  # what tunes a model would ruin it


def test_kind_chooses_among_models_and_tables_may_be_left_out():
    clip = build(ClipConfig, {"left": {"kind": "vit"}, "right": {"hidden": 64}})
    assert clip == replace(ClipConfig(), left=ViT(), right=Bert(hidden=64))
    assert build(TextConfig, {"mining": {"count": 3}}).mining == Mining(count=3)
    assert build(TextConfig, {}).mining is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["lop.steps=1"], "lop is no setting; did you mean 'loop'?"),
        (["loop.step=1"], "loop.step is no setting; did you mean 'steps'?"),
        (["colour=1"], "colour is no setting; it has dims, model,"),
        (["loop.steps=1.5"], "loop.steps=1.5 is not a whole number"),
        (["loop.steps=true"], "loop.steps=True is not a whole number"),
        (["loop.optimizer=adam"], "loop.optimizer='adam' is not one of adamw, sgd"),
        (["loop.learning_rate=fast"], "loop.learning_rate='fast' is not a number"),
        (["dims=8"], "dims=8 is not a list, each a whole number"),
        (["dims=[8, '9']"], "dims='9' is not a whole number"),
        (["weights=heavy"], "weights='heavy' is not one of uniform, front"),
        (["model.kind=cnn"], "model.kind='cnn' is none of resnet, vit"),
        (["model.patch=2"], "model.patch is no setting"),
        (["loop=3"], "loop=3 is not a table"),
        (["tied=1"], "tied=1 is not true or false"),
        (["loop.patience=soon"], "loop.patience='soon' is not a whole number"),
    ],
)
def test_what_is_not_a_setting_or_not_of_its_type_is_refused_by_name(settings, told):
    with pytest.raises(InputError) as refused:
        build(ImageConfig, apply_settings({}, settings))
    assert told in str(refused.value)


def test_settings_that_cannot_be_put_in_are_refused():
    with pytest.raises(InputError, match="sets nothing"):
        apply_settings({}, ["loop.steps"])
    with pytest.raises(InputError, match="dims is"):
        apply_settings({"dims": [4]}, ["dims.first=4"])


def test_what_has_no_usual_value_must_be_there(tmp_path):
    with pytest.raises(InputError, match=r"data\.left is missing"):
        build(PairFile, {"pairs": "a.tsv"}, "data.")
    with pytest.raises(InputError, match=r"no table \[data\]"):
        train_recipe("image", {}, tmp_path, print)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.yaml", "a: 1", "write a .toml or a .json"),
        ("a.toml", "a = ", "is not TOML"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "[1]", "holds no table"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=told):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_configurations_that_come_with_nestvec_are_right(name, monkeypatch):
    table = read_table(CONFIGS / f"{name}.toml")
    data = table.pop("data")
    build(RECIPES[name].config, table)
    monkeypatch.chdir(CONFIGS.parent)
    if "images" in data:  # the user's
        with pytest.raises(DataError, match="no file or folder"):
            RECIPES[name].read(data)
        return
    train, held_out = RECIPES[name].read(data)
    assert len(train) > len(held_out) == data["held_out"]


def test_the_settings_that_the_documentation_names_exist():
    text = (CONFIGS.parent / "docs" / "training.md").read_text()
    rows = re.findall(r"^\| (`[a-z_.]+`.*?) \| (.*?) \|", text, re.MULTILINE)
    named = {name for cell, _ in rows for name in re.findall(r"`([a-z_.]+)`", cell)}
    configs = (ImageConfig, TextConfig, ClipConfig, MlmConfig)
    known = {field.name for config in configs for field in fields(config)}
    inner = {"loop": Loop, "mining": Mining, "model": Bert, "left": ViT, "right": Bert}
    known |= {f"{name}.{field.name}" for name, of in inner.items() for field in fields(of)}
    assert named - {"text", "image", "clip", "mlm"} <= known
    assert {f"loop.{field.name}" for field in fields(Loop)} <= named
