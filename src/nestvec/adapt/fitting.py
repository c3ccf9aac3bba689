"""Fitting an adaptor: hold queries out, train, compare with PCA, and report."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nestvec.adapt.config import Recipe
from nestvec.adapt.evaluation import HeldOut
from nestvec.adapt.full_width_completion import completed
from nestvec.adapt.initialization import settled, starting_point, teachers
from nestvec.adapt.matryoshka_adaptor import MatryoshkaAdaptor
from nestvec.adapt.report import AtSize, FitReport, Verdict
from nestvec.adapt.training_data import Judged, Material, check_rank
from nestvec.errors import InputError
from nestvec.progress import Progress
from nestvec.shapes import Bool, Float32
from nestvec.statistics import bootstrap_mean, lower_bound_of_ratio
from nestvec.statistics.estimate import check_share
from nestvec.transforms.base import Adapter
from nestvec.transforms.rotation import Rotation

if TYPE_CHECKING:
    from nestvec.adapt.training.loop import Task, Trained, Watch

_SHARE = 0.3
_MOST = 1500
"""Of the queries so many are held out, at most: two thirds of them to judge the adaptor by, the
others to stop early by, since what was chosen by a query cannot be judged by it."""
_FEWEST = 10
_PLENTY = 20_000
"""Of so many documents the held-out ones are not missed. Of 1,400 they are: an adaptor orders best
what it was trained on, and that is what is searched."""

Told = Callable[[int, float], None]


class Split(NamedTuple):
    """What to train on; the queries that stop it; the queries that judge it."""

    train: Material
    watch: Material
    judge: Material


@dataclass(frozen=True)
class Fit:
    """A fit as it was asked for."""

    material: Material
    sizes: tuple[int, ...]
    recipe: Recipe
    seed: int
    confidence: float
    force: bool

    def __post_init__(self) -> None:
        check_share(self.confidence, "confidence")
        check_rank(self.material.documents, self.sizes)
        if self.recipe.ranking and self.material.judged is None and self.recipe.weights[:4] == (
            0, 0, 0, 0
        ):  # fmt: skip
            raise InputError("only the ranking loss has a weight, and it asks for pairs; give some")

    def run(self, checkpoint: Path | None, told: Told, progress: Progress) -> MatryoshkaAdaptor:
        """The adaptor that is returned to the caller, with its report."""
        begun = time.perf_counter()
        split = split_queries(self.material, self.seed)
        recipe = settled(self.recipe, split.train, self.sizes, self.seed)
        chosen, report = replace(self, recipe=recipe)._run(split, checkpoint, told, progress)
        report = replace(report, seconds=time.perf_counter() - begun)
        front = front_energy(chosen, self.material.documents)
        return replace(chosen, front=front, report=report)

    def _run(
        self, split: Split, checkpoint: Path | None, told: Told, progress: Progress
    ) -> tuple[MatryoshkaAdaptor, FitReport]:
        from nestvec.adapt.training.loop import train

        task, first = self._task(split.train, None), _place(checkpoint, "first")
        trained = train(task, self._watch(split), first, told, progress)
        trained = replace(trained, adaptor=self._finished(trained, split.train))
        report = self._report(split, trained)
        if report.verdict == "ROTATION":
            matrix = Rotation.fit(self.material.documents).matrix
            chosen = MatryoshkaAdaptor.rotation(matrix, self.sizes)
        elif self._scarce:
            last, task = _place(checkpoint, "last"), self._task(self.material, trained.step)
            again = train(task, None, last, _nothing, progress)
            chosen = self._finished(again, self.material)
        else:
            chosen = trained.adaptor
        for path in (_place(checkpoint, "first"), _place(checkpoint, "last")):
            if path is not None:
                path.unlink(missing_ok=True)
        return chosen, report

    @property
    def _scarce(self) -> bool:
        """Whether what was held out is dear, so that it is learned from in the end."""
        of_queries = self.material.judged is not None or bool((self.material.own < 0).any())
        return of_queries or len(self.material.documents) < _PLENTY

    def _watch(self, split: Split) -> "Watch | None":
        """What early stopping goes by; None where nothing that is known says what is better.

        Overlap with the full-width ranking is no measure of a recipe that means to change it:
        judgements rise while it falls (docs/how-to/adapting.md). Then the last step is taken.
        """
        if self.material.judged is None and self.recipe.teacher != "vectors":
            return None
        watched = HeldOut.of(split.watch)
        return lambda adaptor: watched.over_sizes(adaptor, self.sizes)

    def _finished(self, trained: "Trained", material: Material) -> MatryoshkaAdaptor:
        """With columns for full width behind those that were trained, if any are left over."""
        recipe, width = self.recipe, self.sizes[-1]
        if recipe.orthogonal or recipe.hidden or width == material.dim:
            return trained.adaptor
        return completed(trained.adaptor, material.documents, width)

    def _task(self, material: Material, until: int | None) -> "Task":
        from nestvec.adapt.training.loop import Task

        given = (material, self.recipe, self.seed)
        steps = self.recipe.steps if until is None else until
        return Task(
            material, starting_point(*given), teachers(*given), self.sizes, self.recipe, self.seed,
            steps,
        )  # fmt: skip

    def _report(self, split: Split, trained: "Trained") -> FitReport:
        """The comparison on the queries that judge; at full width PCA changes nothing."""
        rotation, rng = Rotation.fit(split.train.documents), np.random.default_rng([self.seed, 4])
        dims = tuple(sorted({*self.sizes, self.material.dim}))
        judge = HeldOut.of(split.judge)
        before, after = (judge.measure(a, dims) for a in (rotation, trained.adaptor))
        gains = np.mean([after[size] - before[size] for size in self.sizes], axis=0)
        bound = lower_bound_of_ratio(gains, np.ones_like(gains), rng, self.confidence)
        verdict: Verdict = "ADAPTED" if bound > 0 else "FORCED" if self.force else "ROTATION"
        judged = split.train.judged

        def at(size: int) -> AtSize:
            one, other = before[size], after[size]
            return AtSize(size, *(bootstrap_mean(v, rng) for v in (one, other, other - one)))

        return FitReport(
            verdict=verdict,
            metric=judge.metric,
            gain=bootstrap_mean(gains, rng),
            bound=bound,
            confidence=self.confidence,
            sizes=tuple(at(size) for size in self.sizes),
            full=at(self.material.dim),
            rows=len(split.train.documents),
            queries=len(split.train.queries),
            pairs=0 if judged is None else len(judged.queries),
            steps=trained.step,
            seconds=0.0,
            seed=self.seed,
            recipe=self.recipe.to_json(),
            history=trained.history,
        )


def front_energy(adapter: Adapter, documents: Float32[np.ndarray, "n dim"]) -> float:
    """`Adapter.front_energy` of one that was fitted to these."""
    energy = np.square(adapter.transform(documents), dtype=np.float64).sum(axis=0)
    return float(energy[: max(1, adapter.width // 8)].sum() / energy.sum())


def split_queries(material: Material, seed: int) -> Split:
    """Hold queries out; where they are documents themselves, from what is searched too."""
    n = len(material.queries)
    held = min(_MOST, int(_SHARE * n))
    if held < _FEWEST:
        raise InputError(
            f"{n} queries are too few to hold {_FEWEST} of them out and learn from the others; "
            f"give {int(np.ceil(_FEWEST / _SHARE))} or more"
        )
    shuffled = np.random.default_rng([seed, 5]).permutation(n)
    parts = (np.sort(shuffled[held:]), shuffled[: held // 3], shuffled[held // 3 : held])
    hidden = np.zeros(len(material.documents), bool)
    own = material.own[shuffled[:held]]
    hidden[own[own >= 0]] = True
    return Split(*(_without(material.ask(part), hidden) for part in parts))


def _without(material: Material, hidden: Bool[np.ndarray, " n"]) -> Material:
    """The documents that are not hidden, the judgements of them, and the queries still judged."""
    if not hidden.any():
        return material
    place = np.where(hidden, -1, np.cumsum(~hidden) - 1)
    own = np.where(material.own >= 0, place[material.own], -1)
    documents, judged = material.documents[~hidden], material.judged
    if judged is None:
        return replace(material, documents=documents, own=own)
    found = place[judged.documents]
    left = Judged(*(part[found >= 0] for part in (judged.queries, found, judged.grades)))
    if not len(left.queries):
        raise InputError("pairs leave nothing to learn from once queries are held out; give more")
    return Material(documents, material.queries, own, left).ask(np.unique(left.queries))


def _place(checkpoint: Path | None, part: str) -> Path | None:
    return (
        None
        if checkpoint is None
        else checkpoint.with_name(f"{checkpoint.name}.{part}.safetensors")
    )


def _nothing(step: int, value: float) -> None:
    """Tell nobody."""
