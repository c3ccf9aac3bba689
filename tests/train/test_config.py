"""Configuration files are read exactly, or refused with the name of the setting."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from nestvec.errors import DataError, InputError
from nestvec.train import (
    ClipConfig,
    ImageConfig,
    Loop,
    MlmConfig,
    StepEvent,
    TextConfig,
    TrainingResult,
)
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


def test_toml_and_json_give_the_same_configuration(tmp_path):
    (tmp_path / "a.toml").write_text(TOML)
    table = read_table(tmp_path / "a.toml")
    (tmp_path / "a.json").write_text(json.dumps(table))
    assert build(ImageConfig, table) == build(ImageConfig, read_table(tmp_path / "a.json"))
    assert build(ImageConfig, table) == EXPECTED


def test_an_empty_table_gives_the_defaults():
    assert build(ImageConfig, {}) == ImageConfig()


def test_settings_replace_and_add_values():
    settings = ["loop.steps=9", "dims=[2, 3]", "weights=front", "model.kind=resnet"]
    table = apply_settings({"dims": [4], "loop": {"steps": 1, "seed": 2}}, settings)
    assert build(ImageConfig, table) == ImageConfig(
        dims=(2, 3), weights="front", model=ResNet(), loop=Loop(steps=9, seed=2)
    )


def test_settings_that_a_table_leaves_out_are_those_of_the_recipe():
    default = TextConfig().loop
    assert build(TextConfig, {"loop": {"steps": 7}}).loop == replace(default, steps=7)
    assert default.learning_rate != Loop().learning_rate


def test_kind_chooses_among_models_and_tables_may_be_left_out():
    clip = build(ClipConfig, {"query_tower": {"kind": "vit"}, "document_tower": {"hidden": 64}})
    assert clip == replace(ClipConfig(), query_tower=ViT(), document_tower=Bert(hidden=64))
    assert build(TextConfig, {"mining": {"count": 3}}).mining == Mining(count=3)
    assert build(TextConfig, {}).mining is None


@pytest.mark.parametrize(
    ("settings", "message"),
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
def test_unknown_settings_and_wrong_types_are_refused_by_name(settings, message):
    with pytest.raises(InputError) as error:
        build(ImageConfig, apply_settings({}, settings))
    assert message in str(error.value)


def test_settings_that_name_no_value_or_no_table_are_refused():
    with pytest.raises(InputError, match="sets nothing"):
        apply_settings({}, ["loop.steps"])
    with pytest.raises(InputError, match="dims is"):
        apply_settings({"dims": [4]}, ["dims.first=4"])


def test_settings_without_a_default_are_required(tmp_path):
    with pytest.raises(InputError, match=r"data\.query_column is missing"):
        build(PairFile, {"pairs": "a.tsv"}, "data.")
    with pytest.raises(InputError, match=r"no table \[data\]"):
        train_recipe("image", {}, tmp_path, print)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "a: 1", "write a .toml or a .json"),
        ("a.toml", "a = ", "is not TOML"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "[1]", "holds no table"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_configurations_that_come_with_nestvec_are_valid(name, monkeypatch):
    table = read_table(CONFIGS / f"{name}.toml")
    data = table.pop("data")
    build(RECIPES[name].config, table)
    monkeypatch.chdir(CONFIGS.parent)
    train, held_out = RECIPES[name].read(data)
    assert len(train) > len(held_out) == data["held_out"]


def test_the_settings_that_the_documentation_names_exist():
    text = (CONFIGS.parent / "docs" / "how-to" / "training.md").read_text()
    rows = re.findall(r"^\| (`[a-z_.]+`.*?) \| (.*?) \|", text, re.MULTILINE)
    named = {name for cell, _ in rows for name in re.findall(r"`([a-z_.]+)`", cell)}
    configs = (ImageConfig, TextConfig, ClipConfig, MlmConfig)
    known = {field.name for config in configs for field in fields(config)}
    inner = {
        "loop": Loop,
        "mining": Mining,
        "model": Bert,
        "query_tower": ViT,
        "document_tower": Bert,
    }
    known |= {f"{name}.{field.name}" for name, kind in inner.items() for field in fields(kind)}
    assert named - {"text", "image", "clip", "mlm"} <= known
    assert {f"loop.{field.name}" for field in fields(Loop)} <= named


# --- old names of settings ---


OLD_NAMES = [
    (TextConfig, {"measured": [4]}, "eval_dims", (4,)),
    (TextConfig, {"rotated": True}, "init_pca", True),
    (TextConfig, {"at_once": 3}, "mini_batch_size", 3),
    (ClipConfig, {"left": {"kind": "vit"}}, "query_tower", ViT()),
    (ClipConfig, {"right": {"hidden": 64}}, "document_tower", Bert(hidden=64)),
    (ClipConfig, {"at_once": 3}, "mini_batch_size", 3),
    (MlmConfig, {"masked": 0.3}, "mask_share", 0.3),
]


@pytest.mark.parametrize(("kind", "table", "new", "value"), OLD_NAMES)
def test_settings_are_read_by_their_old_names_too(kind, table, new, value):
    (old,) = table
    with pytest.warns(DeprecationWarning, match=f"'{old}' in the configuration .* '{new}'"):
        config = build(kind, table)
    assert getattr(config, new) == value
    with pytest.warns(DeprecationWarning, match=rf"{kind.__name__}\.{old} is now called"):
        assert getattr(config, old) == value
    with pytest.warns(DeprecationWarning, match=f"{old}= is now called {new}="):
        assert kind(**{old: value}) == config


def test_columns_of_pairs_are_read_by_their_old_names_too():
    table = {"pairs": "a.tsv", "left": "q", "right": "d", "negative": "n"}
    with pytest.warns(DeprecationWarning, match=r"query_column|document_column|negative_column"):
        file = build(PairFile, table, "data.")
    assert file == PairFile("a.tsv", "q", "d", "n")


def test_a_setting_by_both_names_is_refused():
    with pytest.raises(InputError, match="measured and eval_dims are one setting; use eval_dims"):
        build(TextConfig, {"measured": [4], "eval_dims": [8]})


def test_the_names_of_events_and_results_work_by_their_old_names_too():
    import nestvec.train

    with pytest.warns(DeprecationWarning, match="is now called nestvec.train.TrainingResult"):
        assert nestvec.train.Trained is TrainingResult
    with pytest.warns(DeprecationWarning, match="is now called nestvec.train.StepEvent"):
        assert nestvec.train.Moment is StepEvent
    event = StepEvent(1, 2, 0.5, 1e-3, None)
    with pytest.warns(DeprecationWarning, match=r"StepEvent\.learning_rate"):
        assert event.rate == 1e-3
