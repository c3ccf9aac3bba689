"""`Linear`: a linear map, fitted in closed form."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nestvec.deprecation import warn_renamed
from nestvec.errors import VectorsError
from nestvec.transforms.base import register_kind
from nestvec.transforms.linear import LinearTransform


@register_kind
@dataclass(frozen=True, eq=False)
class Linear(LinearTransform):
    """Rows times `matrix`, plus `offset`, for both sides; scores at full width change."""

    @classmethod
    def fit_neighbour_whitening(cls, vectors: ArrayLike, *, seed: int = 0) -> "Linear":
        """Put directions first in which rows differ more than nearest neighbours do.

        A closed form, after linear discriminant analysis, that needs neither torch nor judgments:
        it evens out the differences between rows that mean nearly the same. Scores change, at full
        width too. By most judgments we have they become better, but nothing shows that without any
        (docs/how-to/adapting.md). At most 50,000 rows are used, drawn by `seed`. `VectorsError`
        without rows.
        """
        # Imported here: `import nestvec` is fast.
        from nestvec.adapt.config import AdaptorConfig
        from nestvec.adapt.training_data import TrainingData
        from nestvec.adapt.whitening import neighbour_whitening

        data = TrainingData.read(vectors, seed=seed)
        if not len(data.documents):
            raise VectorsError("vectors have no rows; neighbours need at least some")
        matrix = neighbour_whitening(data, AdaptorConfig(), seed)
        return cls(matrix, np.zeros(data.dim, np.float32))

    @classmethod
    def fit_neighbours(cls, vectors: ArrayLike, *, seed: int = 0) -> "Linear":
        """Call `fit_neighbour_whitening`, by its old name."""
        warn_renamed("Linear.fit_neighbours", "Linear.fit_neighbour_whitening")
        return cls.fit_neighbour_whitening(vectors, seed=seed)
