"""`Rotation`: an orthogonal map, fitted by PCA or learned for the ranking of prefixes."""

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from nestvec.progress import Progress, silent
from nestvec.transforms.base import register_kind
from nestvec.transforms.rotation import OrthogonalTransform

# The modules of a fit are imported where it begins: `import nestvec` is fast.


@register_kind
@dataclass(frozen=True, eq=False)
class Rotation(OrthogonalTransform):
    """An orthogonal map of vectors; column j of `matrix` is the direction of output dimension j.

    Queries and documents are rotated alike, so inner products at full width stay the same.
    """

    @classmethod
    def learn(
        cls,
        vectors: ArrayLike,
        dims: Sequence[int],
        *,
        seed: int = 0,
        progress: Progress = silent,
    ) -> "Rotation":
        """Learn the rotation whose prefixes of `dims` rank most as full width does.

        Training begins at `fit` and follows the gradient of the distillation loss over orthogonal
        matrices. The target is the ranking by the cosines of the vectors and by those after the
        neighbour whitening, half each (docs/how-to/adapting.md). Needs the extra `train`.
        `DimsError` for dims that do not ascend, `VectorsError` for vectors that span too few.
        """
        from nestvec.adapt.config import AdaptorConfig
        from nestvec.adapt.initialization import teacher_maps
        from nestvec.adapt.training_data import TrainingData, check_dims_list, check_rank
        from nestvec.extras import require

        require("torch", "train")
        from nestvec.adapt.training.task import AdaptorTask, train_adaptor

        data, config = TrainingData.read(vectors, seed=seed), AdaptorConfig(teacher="average")
        nesting_dims = check_dims_list(dims, data.dim)
        check_rank(data.documents, nesting_dims)
        pca = cls.fit(data.documents).matrix
        teachers = teacher_maps(data, config, seed)
        task = AdaptorTask(data, pca, teachers, nesting_dims, config, seed)
        return cls(train_adaptor(task, progress=progress).transform.documents.matrix)
