"""The configurations that come along run from a clone without any other data."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
FEW = {
    "text": ("data.limit=60", "data.held_out=20", "loop.batch_size=8"),
    "mlm": ("data.held_out=20", "model.vocabulary=300"),
    "image": (),
    "clip": (),
}
"""Settings that make two steps short; data, model and everything else stay as the file says."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Copy what a clone has of configurations and code to a folder with nothing beside it."""
    folder = tmp_path_factory.mktemp("fresh") / "nestvec"
    for name in tracked_files("configs", "src"):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    return folder


def tracked_files(*folders):
    """List the files that a clone would have: what git ignores is not among them."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: what comes along is not known")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *folders]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.door(
    "a configuration that comes along, from a fresh clone", "runs on data that come along"
)
@pytest.mark.parametrize("recipe", FEW)
def test_every_configuration_runs(recipe, clone, tmp_path):
    settings = ("loop.steps=2", "loop.evaluate_every=2", *FEW[recipe])
    command = ["train", recipe, "--config", f"configs/{recipe}.toml", "-o", str(tmp_path / "run")]
    command += [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-c", "from nestvec_command import main; main()", *command],
        cwd=clone, env=os.environ | {"PYTHONPATH": str(clone / "src")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stderr
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
