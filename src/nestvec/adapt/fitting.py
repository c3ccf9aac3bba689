"""Fitting an adaptor: hold queries out, train, compare with PCA, and report."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nestvec.adapt.config import AdaptorConfig
from nestvec.adapt.evaluation import HeldOutQueries, PerQuery
from nestvec.adapt.full_width_completion import complete_full_width
from nestvec.adapt.initialization import initial_map, resolve_teacher, teacher_maps
from nestvec.adapt.report import FitReport, FitVerdict, ScoresAtDims
from nestvec.adapt.training.task import (
    AdaptorTask,
    EvaluationListener,
    FittedAdaptor,
    train_adaptor,
)
from nestvec.adapt.training_data import Judgments, TrainingData, check_rank
from nestvec.errors import InputError
from nestvec.keywords import complete
from nestvec.progress import Progress, silent
from nestvec.shapes import Bool, Float32
from nestvec.statistics import bootstrap_mean, lower_bound_of_ratio
from nestvec.statistics.estimate import check_share
from nestvec.transforms.base import Transform
from nestvec.transforms.residual import ResidualTransform
from nestvec.transforms.rotation import OrthogonalTransform

_HELD_OUT_SHARE = 0.3
_MAX_HELD_OUT = 1500
"""Two thirds of the held-out queries test the adaptor, and the others stop the training early:
queries that an adaptor was chosen by cannot test it."""
_MIN_HELD_OUT = 10
"""Fewer queries show nothing."""
_MANY_DOCUMENTS = 20_000
"""Of so many documents the held-out ones are not missed. Of 1,400 they are: an adaptor orders best
the documents that it was trained on, and those are searched."""


class QuerySplit(NamedTuple):
    """Data to train on, with queries for training, for early stopping, and for the test."""

    train: TrainingData
    validation: TrainingData
    test: TrainingData


@dataclass(frozen=True)
class FitRun:
    """The options of `MatryoshkaAdaptor.fit`, with their defaults."""

    seed: int = 0
    confidence: float = 0.95
    force: bool = False
    checkpoint: str | os.PathLike[str] | None = None
    on_evaluation: EvaluationListener | None = None
    progress: Progress = silent

    def __post_init__(self) -> None:
        check_share(self.confidence, "confidence")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "FitRun":
        """Complete options with their defaults; `InputError` for an unknown one."""
        defaults = {field.name: field.default for field in fields(cls)}
        return cls(**complete(options, defaults, "MatryoshkaAdaptor.fit"))

    def checkpoint_path(self, part: str) -> Path | None:
        """Name the checkpoint file of one of the trainings."""
        return None if self.checkpoint is None else Path(f"{os.fspath(self.checkpoint)}.{part}.pt")


@dataclass(frozen=True)
class AdaptorFit:
    """The data and the settings of one fit."""

    data: TrainingData
    nesting_dims: tuple[int, ...]
    config: AdaptorConfig
    run: FitRun

    def __post_init__(self) -> None:
        check_rank(self.data.documents, self.nesting_dims)
        *other_weights, ranking_weight = self.config.weights
        if ranking_weight and self.data.judgments is None and not any(other_weights):
            raise InputError("only the ranking loss has a weight, and it needs pairs; give some")

    def fit_adaptor(self) -> tuple[ResidualTransform, FitReport]:
        """Train, and take the adaptor if it beats PCA; without a proof of that take PCA."""
        start_s = time.perf_counter()
        split = split_queries(self.data, self.run.seed)
        config = resolve_teacher(self.config, split.train, self.nesting_dims, self.run.seed)
        adaptor, report = replace(self, config=config)._train_and_test(split)
        report = replace(report, duration_s=time.perf_counter() - start_s)
        share = front_energy(adaptor, self.data.documents)
        return replace(adaptor, fitted_front_energy=share), report

    def _train_and_test(self, split: QuerySplit) -> tuple[ResidualTransform, FitReport]:
        run = self.run
        first_path, second_path = (run.checkpoint_path(part) for part in ("first", "second"))
        task = self._task(split.train, self._validation_score(split))
        fitted = train_adaptor(
            task, first_path, on_evaluation=run.on_evaluation, progress=run.progress
        )
        trained = self._complete_full_width(fitted, split.train)
        report = self._report(split, trained, fitted)
        if report.verdict == "ROTATION":
            pca = OrthogonalTransform.fit(self.data.documents).matrix
            adaptor = ResidualTransform.from_rotation(pca, self.nesting_dims)
        elif self._reuse_test_queries:
            task = self._task(self.data, None)
            refitted = train_adaptor(
                task, second_path, last_step=fitted.step, progress=run.progress
            )
            adaptor = self._complete_full_width(refitted, self.data)
        else:
            adaptor = trained
        for path in (first_path, second_path):
            if path is not None:
                path.unlink(missing_ok=True)
        return adaptor, report

    @property
    def _reuse_test_queries(self) -> bool:
        """True if held-out rows are scarce, so that a second training uses them too."""
        has_queries = self.data.judgments is not None or bool((self.data.self_match < 0).any())
        return has_queries or len(self.data.documents) < _MANY_DOCUMENTS

    def _validation_score(
        self, split: QuerySplit
    ) -> Callable[[ResidualTransform], PerQuery] | None:
        """Make the score that stops training early; None where no score says what is better.

        Overlap with the full-width ranking is no measure of settings that mean to change it:
        nDCG by judgments rises while it falls (docs/how-to/adapting.md). Then the last step counts.
        """
        if self.data.judgments is None and self.config.teacher != "vectors":
            return None
        validation = HeldOutQueries.from_data(split.validation)
        return lambda adaptor: validation.mean_over_dims(adaptor, self.nesting_dims)

    def _complete_full_width(self, fitted: FittedAdaptor, data: TrainingData) -> ResidualTransform:
        """Add columns for full width behind the trained ones, if any are left."""
        config, widest = self.config, self.nesting_dims[-1]
        if config.orthogonal or config.hidden or widest == data.dim:
            return fitted.transform
        return complete_full_width(fitted.transform, data.documents, widest)

    def _task(
        self, data: TrainingData, validation: Callable[[ResidualTransform], PerQuery] | None
    ) -> AdaptorTask:
        initialization = initial_map(data, self.config, self.run.seed)
        teachers = teacher_maps(data, self.config, self.run.seed)
        return AdaptorTask(
            data,
            initialization,
            teachers,
            self.nesting_dims,
            self.config,
            self.run.seed,
            validation,
        )

    def _report(
        self, split: QuerySplit, adaptor: ResidualTransform, fitted: FittedAdaptor
    ) -> FitReport:
        """Compare with PCA on the test queries; at full width PCA changes nothing."""
        pca, rng = (
            OrthogonalTransform.fit(split.train.documents),
            np.random.default_rng([self.run.seed, 4]),
        )
        dims = tuple(sorted({*self.nesting_dims, self.data.dim}))
        test = HeldOutQueries.from_data(split.test)
        pca_scores, scores = (test.score_dims(t, dims) for t in (pca, adaptor))
        gains = np.mean([scores[width] - pca_scores[width] for width in self.nesting_dims], axis=0)
        bound = lower_bound_of_ratio(gains, np.ones_like(gains), rng, self.run.confidence)
        verdict: FitVerdict = "ADAPTED" if bound > 0 else "FORCED" if self.run.force else "ROTATION"
        judgments = split.train.judgments

        def scores_at(width: int) -> ScoresAtDims:
            per_query = (pca_scores[width], scores[width], scores[width] - pca_scores[width])
            return ScoresAtDims(width, *(bootstrap_mean(values, rng) for values in per_query))

        return FitReport(
            verdict=verdict,
            metric=test.metric,
            gain=bootstrap_mean(gains, rng),
            gain_lower_bound=bound,
            confidence=self.run.confidence,
            at_dims=tuple(scores_at(width) for width in self.nesting_dims),
            at_full_width=scores_at(self.data.dim),
            n_documents=len(split.train.documents),
            n_queries=len(split.train.queries),
            n_pairs=0 if judgments is None else len(judgments.queries),
            steps=fitted.step,
            duration_s=0.0,
            seed=self.run.seed,
            config=self.config.to_json(),
            history=fitted.history,
        )


def front_energy(transform: Transform, documents: Float32[np.ndarray, "n dim"]) -> float:
    """Measure `Transform.front_energy` of a transform on the rows that it was fitted to."""
    energy = np.square(transform.transform(documents), dtype=np.float64).sum(axis=0)
    return float(energy[: max(1, transform.width // 8)].sum() / energy.sum())


def split_queries(data: TrainingData, seed: int) -> QuerySplit:
    """Hold queries out; where queries are documents, hold these documents out too."""
    n = len(data.queries)
    n_held_out = min(_MAX_HELD_OUT, int(_HELD_OUT_SHARE * n))
    if n_held_out < _MIN_HELD_OUT:
        raise InputError(
            f"{n} queries are too few to hold {_MIN_HELD_OUT} of them out and learn from the "
            f"others; give {int(np.ceil(_MIN_HELD_OUT / _HELD_OUT_SHARE))} or more"
        )
    shuffled = np.random.default_rng([seed, 5]).permutation(n)
    n_validation = n_held_out // 3
    parts = (
        np.sort(shuffled[n_held_out:]),
        shuffled[:n_validation],
        shuffled[n_validation:n_held_out],
    )
    hidden = np.zeros(len(data.documents), bool)
    self_match = data.self_match[shuffled[:n_held_out]]
    hidden[self_match[self_match >= 0]] = True
    return QuerySplit(*(_without_documents(data.select_queries(part), hidden) for part in parts))


def _without_documents(data: TrainingData, hidden: Bool[np.ndarray, " n"]) -> TrainingData:
    """Leave out hidden documents, the judgments of them, and queries without any judgment left."""
    if not hidden.any():
        return data
    new_rows = np.where(hidden, -1, np.cumsum(~hidden) - 1)
    self_match = np.where(data.self_match >= 0, new_rows[data.self_match], -1)
    documents, judgments = data.documents[~hidden], data.judgments
    if judgments is None:
        return replace(data, documents=documents, self_match=self_match)
    rows = new_rows[judgments.documents]
    visible = rows >= 0
    remaining = Judgments(judgments.queries[visible], rows[visible], judgments.grades[visible])
    if not len(remaining.queries):
        raise InputError("pairs leave nothing to learn from once queries are held out; give more")
    remaining_data = TrainingData(documents, data.queries, self_match, remaining)
    return remaining_data.select_queries(np.unique(remaining.queries))
