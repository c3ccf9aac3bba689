"""`MatryoshkaAdaptor`: a learned map that makes the prefixes of frozen embeddings useful."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.adapt.config import AdaptorConfig
from nestvec.adapt.report import FitReport
from nestvec.adapt.training_data import Pairs, TrainingData, check_dims_list
from nestvec.deprecation import renamed_arguments, renamed_fields
from nestvec.metrics import Id
from nestvec.progress import Progress, silent
from nestvec.transforms.base import Facts, register_kind
from nestvec.transforms.residual import ResidualTransform

# The modules of a fit are imported where it begins: `import nestvec` is fast.


def ignore_evaluation(step: int, score: float) -> None:
    """Do nothing with a score: the usual listener."""


@register_kind
@renamed_fields({"sizes": "nesting_dims", "front": "fitted_front_energy"})
@dataclass(frozen=True, eq=False)
class MatryoshkaAdaptor(ResidualTransform):
    """Documents and queries through their learned maps; every row keeps its length.

    After Matryoshka-Adaptor (Yoon et al., 2407.20243): a map of embeddings, trained for all nesting
    dims at once. `report` has its scores on held-out queries. Applying it needs NumPy alone.
    """

    report: FitReport | None = None

    @classmethod
    @renamed_arguments({"recipe": "config", "told": "on_evaluation"})
    def fit(  # noqa: PLR0913  one call says all about a fit
        cls,
        vectors: ArrayLike,
        dims: Sequence[int],
        pairs: Pairs | None = None,
        *,
        queries: ArrayLike | None = None,
        ids: "Sequence[Id] | np.ndarray | None" = None,
        query_ids: "Sequence[Id] | np.ndarray | None" = None,
        config: AdaptorConfig | None = None,
        seed: int = 0,
        confidence: float = 0.95,
        force: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        on_evaluation: Callable[[int, float], None] = ignore_evaluation,
        progress: Progress = silent,
    ) -> "MatryoshkaAdaptor":
        """Train an adaptor on `vectors` [n, dim] for prefixes of `dims`; needs the extra `train`.

        Without `pairs` it learns to keep the full-width ranking for `queries` [q, dim], or for the
        vectors themselves. `pairs` are (query id, document id), with a grade where there is one, or
        qrels: with them it also learns what people judged relevant. Ids are row numbers by default;
        without `queries` both ids of a pair are of `vectors`. The direction of a row matters, not
        its length. At most 50,000 rows are used, drawn by `seed`.

        A share of the queries is held out. If the adaptor does not beat PCA on these by a bound at
        `confidence`, the adaptor returned does no more than rotate, unless `force`; `report` says
        so. A run that was stopped resumes from the files named after `checkpoint`. `on_evaluation`
        gets the step and the mean validation score. Equal input and seed give an equal adaptor.
        `InputError` for data that nothing can be learned from.
        """
        from nestvec.extras import require

        require("torch", "train")
        from nestvec.adapt.fitting import AdaptorFit

        data = TrainingData.read(vectors, pairs, queries, ids, query_ids, seed)
        if config is None:
            config = AdaptorConfig.unsupervised() if pairs is None else AdaptorConfig()
        fit = AdaptorFit(data, check_dims_list(dims, data.dim), config, seed, confidence, force)
        path = None if checkpoint is None else Path(checkpoint)
        fitted, report = fit.fit_adaptor(path, on_evaluation, progress)
        return cls(
            fitted.documents,
            fitted.queries,
            fitted.nesting_dims,
            fitted.fitted_front_energy,
            report,
        )

    def notes(self) -> Facts:
        """Give the report, by the keys that files have for it."""
        return {"report": None if self.report is None else self.report.to_notes()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
    ) -> "MatryoshkaAdaptor":
        """Rebuild the adaptor with its report."""
        report = None if facts["report"] is None else FitReport.from_notes(facts["report"])
        return replace(super().from_arrays(arrays, facts), report=report)
