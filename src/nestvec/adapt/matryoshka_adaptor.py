"""`MatryoshkaAdaptor`: a learned map that makes the prefixes of frozen embeddings useful."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from nestvec.deprecation import renamed_arguments, renamed_fields
from nestvec.progress import Progress
from nestvec.transforms.base import Facts, register_kind
from nestvec.transforms.residual import ResidualTransform

if TYPE_CHECKING:
    from nestvec.adapt.config import AdaptorConfig
    from nestvec.adapt.report import FitReport
    from nestvec.adapt.training_data import Pairs
    from nestvec.metrics import Id

# The modules of a fit are imported where it begins: `import nestvec` is fast.


class FitOptions(TypedDict, total=False):
    """Keyword options of `MatryoshkaAdaptor.fit`; each has a default.

    - `seed`: of the sample, the split, the batches and the intervals (0); equal input and seed give
      an equal adaptor.
    - `confidence`: of the bound by which the adaptor must beat PCA (0.95).
    - `force`: take the adaptor although it was not shown to beat PCA.
    - `checkpoint`: path after which the files are named that a stopped run resumes from.
    - `on_evaluation`: a function that gets the step and the mean validation score.
    - `progress`: a progress display.
    """

    seed: int
    confidence: float
    force: bool
    checkpoint: str | os.PathLike[str] | None
    on_evaluation: Callable[[int, float], None] | None
    progress: Progress


@register_kind
@renamed_fields({"sizes": "nesting_dims", "front": "fitted_front_energy"})
@dataclass(frozen=True, eq=False)
class MatryoshkaAdaptor(ResidualTransform):
    """Documents and queries through their learned maps; every row keeps its length.

    After Matryoshka-Adaptor (Yoon et al., 2407.20243): a map of embeddings, trained for all nesting
    dims at once. `report` has its scores on held-out queries. Applying it needs NumPy alone.
    """

    report: "FitReport | None" = None

    @classmethod
    @renamed_arguments({"recipe": "config", "told": "on_evaluation"})
    def fit(
        cls,
        vectors: ArrayLike,
        dims: Sequence[int],
        pairs: "Pairs | None" = None,
        *,
        queries: ArrayLike | None = None,
        ids: "Sequence[Id] | np.ndarray | None" = None,
        query_ids: "Sequence[Id] | np.ndarray | None" = None,
        config: "AdaptorConfig | None" = None,
        **options: Unpack[FitOptions],
    ) -> "MatryoshkaAdaptor":
        """Train an adaptor on `vectors` [n, dim] for prefixes of `dims`; needs the extra `train`.

        Without `pairs` it learns to keep the full-width ranking for `queries` [q, dim], or for the
        vectors themselves. `pairs` are (query id, document id), with a grade where there is one, or
        qrels: with them it also learns relevance judgments. Ids are row numbers by default;
        without `queries` both ids of a pair are of `vectors`. The direction of a row matters, not
        its length. At most 50,000 rows are used. The `options` are those of `FitOptions`: seed,
        confidence, force, checkpoint, on_evaluation and progress.

        A share of the queries is held out. If the adaptor does not beat PCA on these by a bound at
        `confidence`, the adaptor returned does no more than rotate, unless `force`; `report` says
        so. `InputError` for data that nothing can be learned from.
        """
        from nestvec.extras import require

        require("torch", "train")
        from nestvec.adapt.config import AdaptorConfig
        from nestvec.adapt.fitting import AdaptorFit, FitRun
        from nestvec.adapt.training_data import TrainingData, check_dims_list

        run = FitRun.from_options(options)
        data = TrainingData.read(vectors, pairs, queries, ids, query_ids, run.seed)
        if config is None:
            config = AdaptorConfig.unsupervised() if pairs is None else AdaptorConfig()
        fitted, report = AdaptorFit(
            data, check_dims_list(dims, data.dim), config, run
        ).fit_adaptor()
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
        from nestvec.adapt.report import FitReport

        report = None if facts["report"] is None else FitReport.from_notes(facts["report"])
        return replace(super().from_arrays(arrays, facts), report=report)
