"""One nested network against a network per size, on small images, through the same loop.

    python -m benchmarks.train_images [--data ../shared/data/images] [--only CIFAR-10] [--seeds 3]

For each case and seed, from scratch and with the same batches in the same order: MRL, MRL-E, and
plain networks of one width. 5,000 of the training images are held out for the thresholds of the
cascade and nothing else, as each network is evaluated once, at its end. Figures are of the test
images: `head`, accuracy by the classifiers of the networks; `probe`, by softmax regression on 5,000
training images, of MRL's prefixes and of the widest plain network's features, at random dimensions
and principal components; `1-NN`, by the class of the nearest of these images; `cascade`, the
classifiers of the MRL network one after the other. Writes `results/train_images.json` and `.png`;
intervals are over seeds, at 95 %.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

import nestvec as nv
from benchmarks.search.run import machine
from nestvec.classify import Cascade
from nestvec.classify.linear import Linear, prefix, softmax_regression
from nestvec.classify.report import report
from nestvec.exact_top_k import exact_top_k
from nestvec.train import ImageConfig, Loop, train_image
from nestvec.train.data.images import Images, read_images
from nestvec.train.models.image_model import ImageModel, ResNet, ViT
from nestvec.train.models.nested_head import NestedHead
from nestvec.train.recipes.image import embed, load_head

HERE = Path(__file__).parent
RESULT = HERE / "results" / "train_images.json"
HELD_OUT, PROBE_IMAGES = 5_000, 5_000
WAYS: dict[str, dict[str, Any]] = {
    "backward": {"chain": "backward"},
    "pairwise (MRL-AC)": {"chain": "pairwise"},
    "within .01 at .95": {"alpha": 0.01},
    "within .02 at .95": {"alpha": 0.02},
}
Scores = dict[str, dict[str, float]]
"""Accuracies by network and dims."""


@dataclass(frozen=True)
class Case:
    """Images, and the network that is trained on them."""

    file: str
    network: ResNet | ViT
    dims: tuple[int, ...]
    plain_dims: tuple[int, ...]
    """The widths of plain networks; the largest is among them."""
    loop: Loop

    def configs(self, seed: int) -> dict[str, ImageConfig]:
        """Make the configurations of all networks."""
        loop = Loop(**(asdict(self.loop) | {"seed": seed}))
        dims = {
            "MRL": self.dims,
            "MRL-E": self.dims,
            **{f"plain {m}": (m,) for m in self.plain_dims},
        }
        return {
            name: ImageConfig(nesting, self.network, tied=name == "MRL-E", augment=True, loop=loop)
            for name, nesting in dims.items()
        }


def loop(steps: int, batch_size: int, learning_rate: float, precision: Any = "float32") -> Loop:
    return Loop(
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, precision=precision,
        evaluate_every=steps,
    )  # fmt: skip


# ResNets are wider than the embedding: every embedding is then a linear map of them, with signs.
SMALL, DIMS = ResNet(hidden=80), (4, 8, 16, 32, 64)
CASES = {
    "Fashion-MNIST": Case(
        "fashion-mnist.npz", SMALL, DIMS, DIMS, loop(1500, 64, 3e-3, "bfloat16")
    ),
    "Fashion-MNIST, wide": Case(
        "fashion-mnist.npz", ResNet(hidden=160), (*DIMS, 128), (128,),
        loop(1500, 64, 3e-3, "bfloat16"),
    ),
    "CIFAR-10": Case("cifar10_jpg.zip", SMALL, DIMS, DIMS, loop(5000, 64, 3e-3, "bfloat16")),
    "ViT": Case(
        "fashion-mnist.npz", ViT(hidden=64, layers=2, patch=7), DIMS, (8, 64), loop(4000, 64, 1e-3)
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = HERE.parents[1] / "shared/data/images"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="Add seeds from this one on.")
    options = parser.parse_args()
    for name in options.only:
        case = CASES[name]
        file = options.data / case.file
        images, test = read_images(file, "train"), read_images(file, "test")
        for seed in range(options.first, options.first + options.seeds):
            print(name, f"seed {seed}", flush=True)
            run = one_seed(case, images.split(HELD_OUT, seed), test, seed)
            add_run(name, run)
    draw(json.loads(RESULT.read_text())["cases"], RESULT.with_suffix(".png"))


def add_run(name: str, run: dict[str, Any]) -> None:
    """Add a run to the result file; runs of other settings are removed."""
    case, result = CASES[name], json.loads(RESULT.read_text()) if RESULT.exists() else {}
    settings = {
        "network": asdict(case.network), "dims": list(case.dims), "loop": loop_facts(case.loop),
    }  # fmt: skip
    cases = result.get("cases", {})
    old = cases.get(name, {"runs": []})
    same = all(old.get(key) == value for key, value in settings.items())
    runs = {entry["seed"]: entry for entry in (*(old["runs"] if same else ()), run)}
    ordered = [runs[seed] for seed in sorted(runs)]
    system = {"machine": machine(()), "threads": torch.get_num_threads()}
    cases[name] = {**settings, **system, "summary": summary(ordered), "runs": ordered}
    RESULT.write_text(json.dumps({"cases": cases}, indent=1) + "\n")


def loop_facts(loop: Loop) -> dict[str, Any]:
    names = ("steps", "batch_size", "learning_rate", "optimizer", "decay", "warmup", "precision")
    return {name: getattr(loop, name) for name in names}


def one_seed(case: Case, data: tuple[Images, Images], test: Images, seed: int) -> dict[str, Any]:
    """Train and measure all networks of one seed."""
    rng = np.random.default_rng(seed)
    probe_images = data[0].select(rng.permutation(len(data[0]))[:PROBE_IMAGES])
    result: dict[str, Any] = {"seed": seed, "head": {}, "cpu_s": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, config in case.configs(seed).items():
            start = time.process_time()
            trained = train_image(data, config, Path(folder) / name)
            result["cpu_s"][name] = round(time.process_time() - start, 1)
            model, (head, _) = ImageModel.load(trained.model), load_head(trained.model)
            queries = embed(model, test)
            result["head"][name] = head_accuracy(head, queries, test.labels)
            if name == "MRL":
                rows = embed(model, probe_images)
                for kind, measure in MEASURES.items():
                    scores = measure(rows, probe_images.labels, queries, test.labels, case.dims)
                    result[kind] = {name: scores}
                result["cascade"] = cascades(
                    head, embed(model, data[1]), data[1], queries, test, seed
                )
            if name == f"plain {case.dims[-1]}":
                rows = embed(model, probe_images)
                for kind, scores in controls(
                    rows, probe_images.labels, queries, test.labels, rng, case.dims
                ):
                    result[kind] |= scores
            print(" ", name, result["cpu_s"][name], "s:", result["head"][name], flush=True)
    return result


def head_accuracy(head: NestedHead, queries: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Measure the accuracy of the classifiers of a network, by dims."""
    with torch.no_grad():
        classes = [logits.argmax(1).numpy() for logits in head(torch.from_numpy(queries))]
    return {str(dim): accuracy(c, labels) for dim, c in zip(head.dims, classes, strict=True)}


def neighbours(
    rows: np.ndarray, row_labels: np.ndarray, queries: np.ndarray, labels: np.ndarray, dims: Any
) -> dict[str, float]:
    """Measure the accuracy of the nearest image's class, by dims."""
    nearest = {
        dim: exact_top_k(prefix(queries, dim, True), prefix(rows, dim, True), 1)[0][:, 0]
        for dim in dims
    }
    return {str(dim): accuracy(row_labels[row], labels) for dim, row in nearest.items()}


def probe(
    rows: np.ndarray, row_labels: np.ndarray, queries: np.ndarray, labels: np.ndarray, dims: Any
) -> dict[str, float]:
    """Measure the accuracy of softmax regression, by dims."""
    fits = [
        softmax_regression(prefix(rows, dim, True), row_labels, int(row_labels.max()) + 1)
        for dim in dims
    ]
    return {str(fit.dims): accuracy(fit.logits(queries).argmax(1), labels) for fit in fits}


MEASURES = {"probe": probe, "1-NN": neighbours}


def controls(
    rows: np.ndarray, row_labels: np.ndarray, queries: np.ndarray, labels: np.ndarray,
    rng: np.random.Generator, dims: Any,
) -> Iterator[tuple[str, Scores]]:  # fmt: skip
    """Measure a plain network's features at random dimensions and principal components."""
    order, rotation = rng.permutation(rows.shape[1]), nv.Rotation.fit(rows)
    orders = {
        "plain, random": (rows[:, order], queries[:, order]),
        "plain, PCA": (rotation.transform(rows), rotation.transform(queries)),
    }
    for kind, measure in MEASURES.items():
        yield (
            kind,
            {name: measure(a, row_labels, b, labels, dims) for name, (a, b) in orders.items()},
        )


def cascades(
    head: NestedHead,
    held_out_rows: np.ndarray,
    held_out: Images,
    queries: np.ndarray,
    test: Images,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Measure the classifiers of a head as a cascade, with thresholds from held-out images."""
    weights = [[part.detach().numpy() for part in head.classifier(dim)] for dim in head.dims]
    sizes = [Linear(weight, bias, unit=False) for weight, bias in weights]
    classes = list(range(len(sizes[0].bias)))
    results = {}
    for way, options in WAYS.items():
        fitted = Cascade.of(sizes, classes, held_out_rows, held_out.labels, seed=seed, **options)
        measured = report(fitted, queries, test.labels)
        results[way] = {
            "accuracy": measured.accuracy.value, "full": measured.full.value,
            "lost": measured.lost.value, "expected_dims": measured.expected_dims,
            "expected_dims_summed": measured.expected_dims_summed,
            "below_full": round(measured.full.value - measured.accuracy.value, 4),
            "times_fewer": head.dims[-1] / measured.expected_dims,
            "times_fewer_summed": head.dims[-1] / measured.expected_dims_summed,
        }  # fmt: skip
    return results


def accuracy(chosen: np.ndarray, labels: np.ndarray) -> float:
    return round(float((chosen == labels).mean()), 4)


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Average over seeds with intervals, also of the differences of MRL to the others, by dims."""
    kinds = ("head", "probe", "1-NN", "cascade")
    means: dict[str, Any] = {kind: over_seeds([run[kind] for run in runs]) for kind in kinds}
    differences = [dict(compared(run)) for run in runs]
    return means | {"differences": over_seeds(differences)}


def compared(run: dict[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the differences of one seed, whose networks saw the same batches."""
    nested, tied = run["head"]["MRL"], run["head"]["MRL-E"]
    plain = {dim: run["head"].get(f"plain {dim}") for dim in nested}
    yield (
        "MRL - plain",
        {dim: nested[dim] - scores[dim] for dim, scores in plain.items() if scores},
    )
    yield "MRL-E - MRL", {dim: tied[dim] - nested[dim] for dim in nested}
    probed = dict(run["probe"])
    mrl = probed.pop("MRL")
    for control, scores in probed.items():
        yield f"MRL - {control}", {dim: mrl[dim] - scores[dim] for dim in nested}


def over_seeds(values: list[Any]) -> Any:
    """Average nested tables, one per seed: [mean, half the width of its interval] of each number.

    Two seeds are too few for an interval.
    """
    if isinstance(values[0], dict):
        return {key: over_seeds([table[key] for table in values]) for key in values[0]}
    n, spread = len(values), float(np.std(values, ddof=1)) if len(values) > 2 else float("nan")
    half = float(student.ppf(0.975, n - 1)) * spread / n**0.5 if n > 2 else None
    return [round(float(np.mean(values)), 4), None if half is None else round(half, 4)]


PANELS = {"head": "own classifiers", "probe": "softmax regression", "1-NN": "nearest image"}


def draw(cases: dict[str, Any], path: Path) -> None:
    """Draw accuracy over dims by each measure, with a row of panels per case."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6 * len(cases)), layout="constrained")
    grid = figure.subplots(len(cases), 3, squeeze=False, sharey="row")
    for row, (name, case) in zip(grid, cases.items(), strict=True):
        means, dims = case["summary"], case["dims"]
        for axes, kind in zip(row, ("head", "probe", "1-NN"), strict=True):
            for label, line in lines(means[kind], dims).items():
                values, halves = zip(*line.values(), strict=True)
                bars = [half or 0 for half in halves]
                axes.errorbar(
                    list(map(int, line)), values, bars, marker="o", capsize=2, label=label
                )
            axes.set_xscale("log", base=2)
            axes.set_xticks(dims, dims)
            axes.set_xlabel("dimensions")
            axes.set_title(f"{name}: {PANELS[kind]}", fontsize=10)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)
    figure.supylabel("accuracy on the test images, and 95 % intervals over seeds")
    figure.savefig(path, dpi=110)


def lines(scores: dict[str, Any], dims: Any) -> dict[str, Any]:
    """Select the lines to draw; the plain networks are one line."""
    networks = {str(dim): scores.get(f"plain {dim}") for dim in dims}
    plain = {dim: line[dim] for dim, line in networks.items() if line}
    others = {
        name: line for name, line in scores.items() if name.removeprefix("plain ") not in networks
    }
    return {**others, "plain networks": plain} if plain else others


if __name__ == "__main__":
    main()
