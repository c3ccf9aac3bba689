"""One nested network against a network per size, on Fashion-MNIST, through the same loop.

    python -m benchmarks.train_images [--data ../shared/data/images] [--seeds 2] [--first 0]

Small ResNets of 64 features from scratch: MRL, MRL-E, and one plain network per size. 55,000 of
the training images are trained on and 5,000 choose the best evaluation; figures are of the 10,000
test images. "1-NN" is by cosine among 20,000 training images, also for the widest plain network's
features cut at random and by their principal components. The cascade is `nestvec.classify.Cascade`
on the MRL network's features of 10,000 training images. Writes `results/train_images.json` and
`.png`.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nestvec as nv
from benchmarks.search.run import machine
from nestvec.classify import Cascade
from nestvec.classify.report import report
from nestvec.train import ImageConfig, Loop, train_image
from nestvec.train.evaluation import nearest
from nestvec.train.image import embed, load_head
from nestvec.train.image_model import ImageModel, ResNet
from nestvec.train.images import Images, read_images

HERE = Path(__file__).parent
RESULT = HERE / "results" / "train_images.json"
DIMS = (8, 16, 32, 64)
NETWORK = ResNet(hidden=64)
NEIGHBOURS, CASCADED = 20_000, 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = HERE.parents[1] / "shared/data/images"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="Add seeds from this one on.")
    parser.add_argument("--steps", type=int, default=800)
    options = parser.parse_args()
    file = options.data / "fashion-mnist.npz"
    result: dict[str, Any] = {
        "data": "Fashion-MNIST",
        "network": asdict(NETWORK),
        "dims": DIMS,
        "threads": torch.get_num_threads(),
        "machine": machine(()),
    }
    # Earlier seeds of the same networks are kept, so that a busy machine may do one at a time.
    runs = json.loads(RESULT.read_text())["runs"] if options.first else []
    for seed in range(options.first, options.first + options.seeds):
        data = read_images(file, "train").split(5000, seed)
        runs.append(one_seed(data, read_images(file, "test"), seed, options.steps))
        result["runs"] = runs
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(means(runs, "head"), indent=1))
    draw(runs, RESULT.with_suffix(".png"))


def one_seed(data: tuple[Images, Images], test: Images, seed: int, steps: int) -> dict[str, Any]:
    """All networks of one seed."""
    loop = Loop(
        steps=steps, batch_size=128, learning_rate=3e-3, evaluate_every=steps // 2, seed=seed
    )
    configs = {
        "MRL": ImageConfig(dims=DIMS, model=NETWORK, augment=True, loop=loop),
        "MRL-E": ImageConfig(dims=DIMS, model=NETWORK, augment=True, tied=True, loop=loop),
    }
    for dim in DIMS:
        plain = ImageConfig(dims=(dim,), model=NETWORK, augment=True, loop=loop)
        configs[f"plain {dim}"] = plain
    rng = np.random.default_rng(seed)
    shown = data[0].rows(rng.permutation(len(data[0]))[:NEIGHBOURS])
    found: dict[str, Any] = {"seed": seed, "loop": loop_facts(loop), "head": {}, "1-NN": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, config in configs.items():
            start = time.perf_counter()
            trained = train_image(data, config, Path(folder) / name)
            seconds = time.perf_counter() - start
            model = ImageModel.load(trained.model)
            rows, asked = embed(model, shown), embed(model, test)
            found["head"][name] = head_accuracy(trained.model, asked, test.labels)
            found["1-NN"][name] = neighbours(rows, shown.labels, asked, test.labels, config.dims)
            if name == "MRL":
                found["cascade"] = cascade(rows, shown.labels, asked, test.labels, seed)
            if name == f"plain {max(DIMS)}":
                found["1-NN"] |= controls(rows, shown.labels, asked, test.labels, seed)
            print(f"seed {seed}, {name}, {seconds:.0f} s: {found['head'][name]}", flush=True)
            found.setdefault("seconds", {})[name] = round(seconds, 1)
    return found


def loop_facts(loop: Loop) -> dict[str, Any]:
    names = ("steps", "batch_size", "learning_rate", "optimizer", "decay", "warmup", "precision")
    return {name: getattr(loop, name) for name in names}


def head_accuracy(folder: Path, asked: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """By the network's own classifiers."""
    head, _ = load_head(folder)
    with torch.no_grad():
        chosen = [logits.argmax(1).numpy() for logits in head(torch.from_numpy(asked))]
    return {str(dim): accuracy(c, labels) for dim, c in zip(head.dims, chosen, strict=True)}


def neighbours(
    rows: np.ndarray, known: np.ndarray, asked: np.ndarray, labels: np.ndarray, dims: Any
) -> dict[str, float]:
    """By the nearest image's class, at each size."""
    found = {dim: nearest(asked[:, :dim], rows[:, :dim], 1)[:, 0] for dim in dims}
    return {str(dim): accuracy(known[row], labels) for dim, row in found.items()}


def controls(
    rows: np.ndarray, known: np.ndarray, asked: np.ndarray, labels: np.ndarray, seed: int
) -> dict[str, dict[str, float]]:
    """The widest plain network's features, at random and by their principal components."""
    order = np.random.default_rng(seed).permutation(rows.shape[1])
    rotation = nv.Rotation.fit(rows)
    forms = {
        "plain, random": (rows[:, order], asked[:, order]),
        "plain, PCA": (rotation.transform(rows), rotation.transform(asked)),
    }
    return {name: neighbours(a, known, b, labels, DIMS) for name, (a, b) in forms.items()}


def cascade(
    rows: np.ndarray, known: np.ndarray, asked: np.ndarray, labels: np.ndarray, seed: int
) -> dict[str, Any]:
    """What thresholds learned on training images give on the test images."""
    fitted = Cascade.fit(rows[:CASCADED], known[:CASCADED], DIMS, seed=seed)
    held = report(fitted, asked, labels)
    return {
        "accuracy": held.accuracy.value,
        "full": held.full.value,
        "expected_dims": held.expected_dims,
        "expected_dims_summed": held.expected_dims_summed,
    }


def accuracy(chosen: np.ndarray, labels: np.ndarray) -> float:
    return round(float((chosen == labels).mean()), 4)


def means(runs: list[dict[str, Any]], of: str) -> dict[str, dict[str, float]]:
    """Means over seeds of the test accuracy, by form and size."""
    first = runs[0][of]
    return {
        name: {dim: round(float(np.mean([r[of][name][dim] for r in runs])), 4) for dim in sizes}
        for name, sizes in first.items()
    }


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """Accuracy over size: by the networks' own classifiers, and by the nearest image."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, of in zip(figure.subplots(1, 2, sharey=True), ("head", "1-NN"), strict=True):
        lines = means(runs, of)
        plain = {dim: lines.pop(f"plain {dim}")[str(dim)] for dim in DIMS}
        for name, sizes in {**lines, "a network per size": plain}.items():
            axes.plot(DIMS, list(sizes.values()), marker="o", label=name)
        axes.set_xscale("log", base=2)
        axes.set_xticks(DIMS, DIMS)
        axes.set_xlabel("dimensions")
        axes.set_title({"head": "own classifiers", "1-NN": "nearest image's class"}[of])
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.supylabel("accuracy on 10,000 test images")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
