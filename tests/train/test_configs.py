"""The configurations that come along run from a clone without any other data."""

from pathlib import Path

import numpy as np
import pytest

from nestvec.cli import main

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
FEW = {
    "text": ("data.limit=60", "data.held_out=20", "loop.batch_size=8"),
    "mlm": ("data.held_out=20", "model.vocabulary=300"),
    "image": (),
    "clip": (),
}
"""Settings that make two steps short; data, model and everything else stay as the file says."""


@pytest.mark.door(
    "a configuration that comes along, from a fresh clone", "runs on data that come along"
)
@pytest.mark.parametrize("recipe", FEW)
def test_every_configuration_runs(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    settings = ("loop.steps=2", "loop.evaluate_every=2", *FEW[recipe])
    command = ["train", recipe, "--config", f"configs/{recipe}.toml", "-o", str(tmp_path / "run")]
    command += [part for setting in settings for part in ("--set", setting)]
    with pytest.raises(SystemExit) as done:
        main(command)
    assert not done.value.code
    assert (tmp_path / "run" / "model").is_dir()


def test_every_file_is_tested():
    assert {path.stem for path in (ROOT / "configs").glob("*.toml")} == set(FEW)


def test_the_digits_are_small_gray_images_with_names():
    from nestvec.train.data.images import read_digits

    digits = read_digits()
    assert digits.pixels.shape == (1797, 16, 16, 1)
    assert (digits.pixels.min(), digits.pixels.max()) == (0, 255)
    assert digits.classes[int(digits.labels[0])] == "zero"
    assert np.bincount(digits.labels).min() > 170
