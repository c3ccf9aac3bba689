"""The adapter that an index was built with: one file beside the segments, named by the catalog."""

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


def save_transform(folder: Path, adapter: Transform | None) -> dict[str, Any]:
    """Write the adapter into the folder of a new index; what the catalog says of it."""
    if adapter is None:
        return {"format": FORMAT}
    adapter.save(folder / NAME)
    file_entry(folder / NAME)  # on disk for good
    checksum = zlib.crc32((folder / NAME).read_bytes())
    told = {"fingerprint": adapter.fingerprint, "dim": adapter.dim, "checksum": checksum}
    return {"format": WITH_ADAPTER, "adapter": told}


def load_transform(folder: Path, meta: Mapping[str, Any]) -> Transform | None:
    """The adapter that the catalog names, if it names one; `DamagedIndexError` for another file."""
    told, path = meta.get("adapter"), folder / NAME
    if told is None:
        return None
    try:
        if zlib.crc32(path.read_bytes()) != told["checksum"]:
            raise DataError("it differs from its checksum")
        return Transform.load(path)
    except (OSError, DataError) as e:
        raise DamagedIndexError(
            f"{path} cannot be used ({e}); restore it or build the index again"
        ) from e


def transform_queries(
    adapter: Transform | None, meta: Mapping[str, Any], queries: ArrayLike, adapted_by: str | None
) -> Float32[np.ndarray, "q dim"]:
    """Queries as the stored rows are compared with them; `VectorsError` for those of another kind.

    `adapted_by` is the fingerprint of the adapter that they went through already.
    """
    stored = int(meta["dim"])
    own = None if adapter is None else str(meta["adapter"]["fingerprint"])
    if adapted_by is not None and adapted_by != own:
        through = "no adapter" if own is None else f"the adapter {own[:12]}"
        raise VectorsError(
            f"the queries went through the adapter {adapted_by[:12]}, and the index through "
            f"{through}; give queries as the model made them, or adapt them by the index's adapter"
        )
    if adapter is None or adapted_by is not None:
        return as_queries(queries, stored)
    return as_queries(adapter.transform_queries(as_queries(queries, adapter.dim)), stored)
