"""The transform of an index: one file beside the segments, named in the catalog."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import DamagedIndexError, DataError, VectorsError
from nestvec.index.storage.files import file_entry
from nestvec.index.storage.manifest import FORMAT, WITH_ADAPTER
from nestvec.shapes import Float32
from nestvec.transforms.base import Transform
from nestvec.vectors import as_queries

NAME = "adapter.safetensors"
"""The name since format 3, when transforms were called adapters."""


def save_transform(folder: Path, transform: Transform | None) -> dict[str, Any]:
    """Write the transform into the folder of a new index; return its entry in the catalog."""
    if transform is None:
        return {"format": FORMAT}
    transform.save(folder / NAME)
    file_entry(folder / NAME)  # on disk for good
    checksum = zlib.crc32((folder / NAME).read_bytes())
    entry = {"fingerprint": transform.fingerprint, "dim": transform.dim, "checksum": checksum}
    return {"format": WITH_ADAPTER, "adapter": entry}


def load_transform(folder: Path, meta: Mapping[str, Any]) -> Transform | None:
    """Load the transform that the catalog names, if any; `DamagedIndexError` for another file."""
    entry, path = meta.get("adapter"), folder / NAME
    if entry is None:
        return None
    try:
        if zlib.crc32(path.read_bytes()) != entry["checksum"]:
            raise DataError("it differs from its checksum")
        return Transform.load(path)
    except (OSError, DataError) as e:
        raise DamagedIndexError(
            f"{path} cannot be used ({e}); restore it or build the index again"
        ) from e


def transform_queries(
    transform: Transform | None,
    meta: Mapping[str, Any],
    queries: ArrayLike,
    transformed_by: str | None,
) -> Float32[np.ndarray, "q dim"]:
    """Map queries as stored vectors were mapped; `VectorsError` where they do not fit.

    `transformed_by` is the fingerprint of the transform that they went through already.
    """
    stored = int(meta["dim"])
    fingerprint = None if transform is None else str(meta["adapter"]["fingerprint"])
    if transformed_by is not None and transformed_by != fingerprint:
        through = "no transform" if fingerprint is None else f"the transform {fingerprint[:12]}"
        raise VectorsError(
            f"the queries went through the transform {transformed_by[:12]}, and the index through "
            f"{through}; pass queries as the model made them"
        )
    if transform is None or transformed_by is not None:
        return as_queries(queries, stored)
    return as_queries(transform.transform_queries(as_queries(queries, transform.dim)), stored)
