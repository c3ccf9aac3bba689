"""Options of a build: the metric, and how vectors are ordered and coded."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import numpy as np

from nestvec.errors import InputError
from nestvec.keywords import check_seed, complete

METRICS = ("ip", "cosine", "euclidean")
_ROTATIONS = ("pca", "none")
_MAX_BITS = 8
"""More bits than a code of a float32 residual can use."""


class IndexOptions(TypedDict, total=False):
    """Keyword options of `Index.build`; each has a default.

    - `metric`: "ip" (inner product, the default), "cosine" or "euclidean" (scores −|q − x|²).
    - `rotation`: "pca" (the default), or "none" to keep the order of dimensions of a model that was
      trained nested.
    - `bits`: the average number of code bits per dimension (2).
    - `seed`: the seed of k-means and samples (0); equal input and seed give an equal index.
    - `columns`: the columns of the input that texts, ids and metadata came from, as a JSON object
      `{"text": [...], "id": ..., "metadata": [...]}`; recorded, so that rows that the command line
      adds later are read alike.
    """

    metric: Literal["ip", "cosine", "euclidean"] | str
    rotation: Literal["pca", "none"] | str
    bits: float
    seed: int
    columns: Mapping[str, Any] | None


def checked(options: IndexOptions) -> IndexOptions:
    """Complete the options with their defaults; `InputError` for an unknown or bad one."""
    defaults = IndexOptions(metric="ip", rotation="pca", bits=2.0, seed=0, columns=None)
    values = complete(options, defaults, "an index")
    names = ("metric", "rotation", "bits", "seed", "columns")
    metric, rotation, bits, seed, columns = (values[name] for name in names)
    if metric not in METRICS:
        raise InputError(f"metric={metric!r} is not known; use one of {', '.join(METRICS)}")
    if rotation not in _ROTATIONS:
        raise InputError(f"rotation={rotation!r} is not known; use one of {', '.join(_ROTATIONS)}")
    if not isinstance(bits, int | float | np.number) or not 0 < bits <= _MAX_BITS:
        raise InputError(f"bits={bits!r} is out of range; use more than 0 and at most {_MAX_BITS}")
    if columns is not None and not are_columns(columns):
        raise InputError(
            f"columns={columns!r} is no record of columns; write it as "
            '{"text": ["title", "abstract"], "id": "doi", "metadata": None}'
        )
    return IndexOptions(
        metric=metric, rotation=rotation, bits=float(bits), seed=check_seed(seed), columns=columns
    )


def are_columns(value: Any) -> bool:
    """Tell whether a value is a record of the columns of an input, as in `IndexOptions`."""
    if not isinstance(value, Mapping) or value.keys() != {"text", "id", "metadata"}:
        return False
    metadata = [] if value["metadata"] is None else value["metadata"]
    lists = isinstance(value["text"], list) and isinstance(metadata, list)
    return lists and all(
        isinstance(name, str) for name in [*value["text"], *metadata, value["id"] or ""]
    )
