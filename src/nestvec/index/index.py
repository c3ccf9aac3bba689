"""`Index`: build, open and search."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestvec.errors import DamagedIndexError, InputError, StorageError
from nestvec.index import catalog
from nestvec.index.build import BuildOptions, write_segment
from nestvec.index.catalog import Document, File
from nestvec.index.defaults import default_plan
from nestvec.index.hits import Hits, SearchStats, StageStats
from nestvec.index.ids import Ids
from nestvec.index.records import as_json, check_ids, check_length, row_records
from nestvec.index.rows import Rows, Source, vectors_name
from nestvec.index.run import run_plan
from nestvec.index.segment import BULK, Segment, codes_name
from nestvec.index.staging import staging
from nestvec.index.tensors import CHUNK_BYTES, checksums, chunks_without, damaged_chunk
from nestvec.kernels.reference import Funnel
from nestvec.plan import Plan
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32, Int64
from nestvec.vectors import as_float32, check_magnitude, check_vectors

CODES, VECTORS = codes_name(1), vectors_name(1)
_ROTATIONS = ("pca", "none")


@dataclass(frozen=True, eq=False)
class Index:
    """Vectors in cells, coded by bit planes, with what is needed to search them by a `Plan`.

    Scores are inner products: give unit vectors for cosine similarity. Searching never changes an
    index, so any number of threads and processes may search one.
    """

    path: Path
    meta: Mapping[str, Any]
    rows: Rows
    segment: Segment

    @classmethod
    def build(  # noqa: PLR0913  one call says all about an index
        cls,
        vectors: ArrayLike,
        path: str | os.PathLike[str],
        *,
        ids: Sequence[Any] | np.ndarray | None = None,
        texts: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        rotation: str = "pca",
        bits: float = 2.0,
        seed: int = 0,
        model: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        progress: Progress = silent,
    ) -> "Index":
        """Write an index of `vectors` [n, dim] (any float dtype, stored as float32) and open it.

        `vectors` may be a memory map larger than memory. `ids` are unique ints or strings
        (None: 0..n−1); `texts` and `metadata` (JSON objects) are stored beside them. `rotation` is
        "pca", or "none" for models trained nested whose own order is to be kept. `bits` is the
        average number of code bits per dimension. `model` records what made the vectors. Equal
        input and seed give an equal index. The folder `path` appears whole or not at all.
        """
        array = check_vectors(vectors)
        checked_ids = check_ids(ids, len(array))
        check_length(texts, len(array), "texts")
        check_length(metadata, len(array), "metadata records")
        as_json(model or {}, "model")
        options = _check_options(rotation, bits, seed)
        target = Path(path)
        _check_target(target, overwrite)
        with staging(target, overwrite) as stage:
            source = Source(Rows(np.arange(len(array)), Ids.of(checked_ids), array))
            write_segment(stage, 1, [source], options, progress)
            meta = {
                "dim": array.shape[1], "rows": len(array), "metric": "ip", "rotation": rotation,
                "bits": options.bits, "seed": options.seed,
                "model": dict(model) if model else None,
            }  # fmt: skip
            files = [_file(stage / name) for name in (CODES, VECTORS)]
            catalog.create(
                stage, meta, row_records(checked_ids, texts, metadata), len(array), files
            )
        return cls.open(target)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = False) -> "Index":
        """Map a stored index, in milliseconds; with `verify` every byte of its files is checked.

        Always checked: the catalog's form, the size of every file, and the checksums of all arrays
        that others are found through. A flipped bit in a code or a stored vector is found by
        `verify` alone; in a text or metadata, which only SQLite guards, it may not be found.
        """
        folder = Path(path)
        meta, files = catalog.read(folder)
        if not {CODES, VECTORS} <= {file.name for file in files}:
            raise DamagedIndexError(f"{folder} lists no {CODES} and {VECTORS}; build it again")
        for file in files:
            _check_file(folder, file, whole=verify)
        rows = Rows.open(folder / VECTORS)
        segment = Segment.open(folder / CODES, rows.vectors)
        if list(segment.vectors.shape) != [meta.get("rows"), meta.get("dim")]:
            raise DamagedIndexError(
                f"{folder} holds {segment.vectors.shape} vectors, which is not what its catalog "
                "says; restore it or build the index again"
            )
        return cls(folder, meta, rows, segment)

    def __len__(self) -> int:
        return len(self.segment.vectors)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.segment.vectors.shape[1])

    @property
    def vectors(self) -> Float32[np.ndarray, "n dim"]:
        """The stored vectors, as they were given, in their order; memory-mapped."""
        return self.segment.vectors

    @property
    def ids(self) -> np.ndarray:
        """The id of each row."""
        return self.rows.ids[np.arange(len(self))]

    def default_plan(self, k: int = 10) -> Plan:
        """The plan that `search` uses when none is given."""
        return default_plan(self.segment.codec, len(self.segment.cells.counts), k)

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        plan: str | Plan | None = None,
        threads: int | None = None,
    ) -> Hits:
        """The `k` rows with the largest inner products for each query [q, dim], found by `plan`.

        Cells are probed best first; if the plan's cells hold fewer than `k` rows, more are probed.
        Batches are shared out over `threads` (None: all cores); the answer does not depend on it.
        """
        # Kernels are compiled for writable arrays alone: a read-only one would compile them anew.
        array = np.require(as_float32(queries, "queries", self.dim), requirements=["C", "W", "E"])
        check_magnitude(array, "queries")
        chosen = self._check_plan(plan, k)
        funnel = self.segment.codec.funnel(chosen)
        rows, scores, counts = run_plan(self.segment, array, int(k), chosen, threads)
        ids = self.rows.ids[rows]
        return Hits(ids, scores.astype(np.float32), rows, self._stats(chosen, funnel, counts))

    def documents(self, rows: Sequence[int] | Int64[np.ndarray, " n"]) -> list[Document]:
        """Id, text and metadata stored with the given row numbers, in their order."""
        for row in rows:
            if not 0 <= row < len(self):
                raise InputError(f"the index has no row {row}; its {len(self)} count from 0")
        return catalog.documents(self.path, [int(row) for row in rows])

    def _check_plan(self, plan: str | Plan | None, k: int) -> Plan:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= len(self):
            raise InputError(
                f"k={k!r} is not a whole number from 1 to the index's {len(self)} rows"
            )
        if plan is None:
            return self.default_plan(int(k))
        chosen = Plan.parse(plan) if isinstance(plan, str) else plan
        chosen.check(self.dim, int(k))
        return chosen

    def _stats(
        self, plan: Plan, funnel: Funnel, counts: Int64[np.ndarray, "q counts"]
    ) -> SearchStats:
        totals = counts.sum(axis=0).tolist()
        words = np.diff(funnel.starts).tolist()
        stages = [
            StageStats(str(stage), rows, rows * (8 * count + 4))
            for stage, rows, count in zip(plan.stages, totals[1:-1], words, strict=True)
        ]
        if plan.full:
            stages.append(StageStats("full", totals[-1], totals[-1] * 4 * self.dim))
        probe_bytes = len(counts) * self.segment.cells.centroids.nbytes
        return SearchStats(len(counts), totals[0], probe_bytes, tuple(stages))


def _check_options(rotation: str, bits: float, seed: int) -> BuildOptions:
    if rotation not in _ROTATIONS:
        raise InputError(f"rotation={rotation!r} is not known; use one of {', '.join(_ROTATIONS)}")
    if not 0 < bits <= 8:
        raise InputError(f"bits={bits!r} is out of range; use more than 0 and at most 8")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed={seed!r} is not a whole number of at least 0")
    return BuildOptions(rotation, float(bits), int(seed))


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise StorageError(f"{target} exists; choose another path or pass overwrite=True")
    if not (target / catalog.NAME).is_file():
        raise StorageError(
            f"{target} is not a nestvec index, and overwrite=True replaces nothing else; "
            "choose another path"
        )


def _file(path: Path) -> File:
    return File(path.name, path.stat().st_size, checksums(path))


def _check_file(folder: Path, file: File, whole: bool) -> None:
    path = folder / file.name
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise DamagedIndexError(
            f"{path} is missing, although the index lists it; restore it or build the index again"
        ) from None
    if size != file.size_bytes:
        raise DamagedIndexError(
            f"{path} has {size} bytes instead of {file.size_bytes}; "
            "restore it or build the index again"
        )
    every = range(-(-size // CHUNK_BYTES))
    # The header, then (found through it) the arrays that the rest is found through, or everything.
    chunk = damaged_chunk(path, file.checksums, every[:1])
    if chunk is None:
        chunk = damaged_chunk(path, file.checksums, every if whole else chunks_without(path, BULK))
    if chunk is not None:
        raise DamagedIndexError(
            f"{path} differs from its checksum in MiB {chunk + 1} of {len(every)}; "
            "restore it or build the index again"
        )
