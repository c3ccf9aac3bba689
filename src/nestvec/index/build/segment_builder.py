"""Building an index from a stream of blocks, in memory that does not grow with the vectors.

Three passes over the vectors, `BLOCK_ROWS` at a time: (1) check and copy rows, and add up their
second moment; (2) rotate rows and assign each its cell and its spill cell; (3) rotate rows again,
code the residuals to both cells, and write the codes into their slots. Besides a few blocks, memory
holds 40 bytes per row, for a moment 90. Before that it holds the k-means sample: prefixes of 32
rows per cell.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nestvec.codes import Codec, RowCodes, row_norms
from nestvec.index.build import kmeans
from nestvec.index.storage.coded_segment import codes_name
from nestvec.index.storage.segment_rows import RowSource, copy_blocks, rows_writer, vectors_name
from nestvec.index.storage.tensor_file import Layout, TensorWriter
from nestvec.kernels.layout import LANES, PARTS, RECORD_TAIL, centroid_bytes, pack_records
from nestvec.kernels.reference import bfloat16_up, float32_up
from nestvec.parallel import map_ordered
from nestvec.progress import Advance, Progress
from nestvec.shapes import Float, Float32, Float64, Int64, UInt8
from nestvec.transforms.rotation import OrthogonalTransform, second_moment
from nestvec.vectors import BLOCK_ROWS, normalize

_CODEC_SAMPLE = 16_384
_CODED_ROWS = 8_192
"""Rows that each thread codes at a time, so that their residuals stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of a segment; `IndexOptions` documents each."""

    rotation: str
    bits: float
    seed: int
    metric: str

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> "BuildOptions":
        """Take the options from the record of an index, which has more."""
        return cls(meta["rotation"], meta["bits"], meta["seed"], meta["metric"])


def write_segment(
    folder: Path,
    number: int,
    sources: Sequence[RowSource],
    options: BuildOptions,
    progress: Progress,
) -> None:
    """Write the two files of the segment that holds the rows of `sources`."""
    n, dim = sum(map(len, sources)), sources[0].dim
    with (
        progress("indexing", 3 * n) as advance,
        rows_writer(folder / vectors_name(number), sources) as stored,
    ):
        moment = second_moment(_counted(copy_blocks(sources, stored), advance), dim)
        _write_codes(folder / codes_name(number), stored, moment, options, advance)
        del stored


def _counted(
    blocks: Iterator[Float32[np.ndarray, "m dim"]], advance: Advance
) -> Iterator[Float32[np.ndarray, "m dim"]]:
    for block in blocks:
        yield block
        advance(len(block))


class _CellLayout(NamedTuple):
    """The cells of a segment, and the slots of its rows."""

    rotation: Float32[np.ndarray, "dim dim"]
    centroids: kmeans.Centroids
    assignment: kmeans.CellAssignment
    codec: Codec


def _write_codes(
    path: Path,
    vectors: Float32[np.ndarray, "n dim"],
    moment: Float[np.ndarray, "dim dim"],
    options: BuildOptions,
    advance: Advance,
) -> None:
    layout = _lay_out(vectors, moment, options, advance)
    with TensorWriter(path, _tensors(layout, len(vectors), options.metric)) as writer:
        statistics = _CellStatistics(len(layout.centroids.steps))
        writer.arrays["scale"][...] = np.nan
        for part, coded in _code_rows(vectors, layout, options.metric):
            _write_rows(writer.arrays, part, coded, layout.assignment, statistics)
            advance(part.stop - part.start)
        for name, array in _structure(layout, statistics).items():
            writer.arrays[name][...] = array


def _lay_out(
    vectors: Float32[np.ndarray, "n dim"],
    moment: Float[np.ndarray, "dim dim"],
    options: BuildOptions,
    advance: Advance,
) -> _CellLayout:
    rng = np.random.default_rng(options.seed)
    dim = vectors.shape[1]
    if options.rotation == "pca":
        rotation = OrthogonalTransform.from_second_moment(moment).matrix
    else:
        rotation = np.eye(dim, dtype=np.float32)
    energy = np.einsum("ij,ik,kj->j", rotation, moment, rotation, optimize=True)
    cell_dims = kmeans.cell_dims(energy)
    count = kmeans.cell_count(len(vectors))
    sampled_rows = _sample_rows(len(vectors), kmeans.sample_size(count), rng)
    sample = _prefixes(vectors, sampled_rows, rotation[:, :cell_dims], options.metric)
    centroids = kmeans.Centroids.rounded(kmeans.train_cells(sample, count, rng))
    del sample
    cell_ids, spill_cells = _assign_cells(vectors, rotation, centroids, options.metric, advance)
    codec = _fit_codec(vectors, rotation, centroids, cell_ids, energy, options, rng)
    return _CellLayout(
        rotation,
        centroids,
        kmeans.CellAssignment.from_cells(cell_ids, spill_cells, count, LANES),
        codec,
    )


def rows_to_code(block: Float32[np.ndarray, "n dim"], metric: str) -> Float32[np.ndarray, "n dim"]:
    """Return the rows that are coded: under the cosine metric, rows of unit length."""
    return normalize(block) if metric == "cosine" else block


def _tensors(layout: _CellLayout, rows: int, metric: str) -> Layout:
    """Describe all arrays of the file: first the bulk ones, which locate no other data."""
    codec, blocks = layout.codec, int(layout.assignment.overflow_starts[-1])
    f4, i4, i8, u1, u2, u8 = (np.dtype(kind) for kind in ("f4", "i4", "i8", "u1", "u2", "u8"))
    slots = LANES * blocks
    cells, dims = layout.centroids.whole.shape
    padded = -(-cells // LANES) * LANES
    bulk: Layout = {
        "records": (u8, (rows, len(codec.words) + RECORD_TAIL)),
        "head": (u1, (blocks, 8 * len(codec.head), LANES)),
        "scale": (f4, (slots,)),
        "bias": (f4, (slots if metric == "euclidean" else 0,)),
        "head_errors": (u2, (int(layout.assignment.starts[-1]), PARTS, LANES)),
    }
    structure: Layout = {
        "starts": (i8, (cells + 1,)),
        "rests": (i8, (cells + 1,)),
        "counts": (i8, (cells,)),
        "spills": (i8, (cells,)),
        "words": (i8, codec.words.shape),
        "rotation": (f4, layout.rotation.shape),
        "steps": (f4, (padded,)),
        "priors": (f4, (padded,)),
        "spreads": (f4, (padded,)),
        "longest": (f4, (1,)),
        "sigma": (f4, codec.sigma.shape),
        "coefficients": (f4, codec.coefficients.shape),
        "spill_homes": (i4, (len(layout.assignment.spill_cells),)),
        "centroids": (u1, (padded // LANES, -(-dims // 4), LANES, 4)),
    }
    return {**bulk, **structure}


class _CellStatistics:
    """Sums over the primary rows of each cell, and an upper bound on the norms of all rows."""

    def __init__(self, cells: int) -> None:
        self.squares = np.zeros(cells)
        self.biases = np.zeros(cells)
        self.counts = np.zeros(cells)
        self.longest = 0.0

    def add(self, cell_ids: Int64[np.ndarray, " m"], rows: "_CodedRows") -> None:
        """Add the coded rows of one block."""
        # Lengths are float32, half a step off at most; below the normal range steps are 2⁻¹⁴⁹.
        longest = float(rows.lengths.max(initial=0)) * (1 + 1e-6) + 2.0**-148
        self.longest = max(self.longest, longest)
        count = len(self.counts)
        self.squares += np.bincount(cell_ids, rows.norms.astype(np.float64) ** 2, count)
        self.biases += np.bincount(cell_ids, rows.bias, count)
        self.counts += np.bincount(cell_ids, minlength=count)

    def means(self) -> tuple[Float32[np.ndarray, " cells"], Float32[np.ndarray, " cells"]]:
        """Compute mean bias and root mean square residual per cell; 0 where there is no row."""
        counts = np.maximum(self.counts, 1)
        return (
            (self.biases / counts).astype(np.float32),
            np.sqrt(self.squares / counts).astype(np.float32),
        )


def _structure(layout: _CellLayout, statistics: _CellStatistics) -> dict[str, np.ndarray]:
    priors, spreads = statistics.means()
    assignment = layout.assignment
    return {
        "starts": assignment.starts,
        "rests": assignment.overflow_starts,
        "counts": assignment.counts,
        "spills": assignment.spill_counts,
        "words": layout.codec.words,
        "rotation": layout.rotation,
        "steps": _padded(layout.centroids.steps),
        "priors": _padded(priors),
        "spreads": _padded(spreads),
        "longest": np.array([statistics.longest], np.float32),
        "sigma": layout.codec.sigma,
        "coefficients": layout.codec.coefficients,
        "spill_homes": assignment.spill_record_ids(),
        "centroids": centroid_bytes(layout.centroids.whole),
    }


def _padded(values: Float32[np.ndarray, " cells"]) -> Float32[np.ndarray, " lanes"]:
    return np.pad(values, (0, -len(values) % LANES))


class _CodedRows(NamedTuple):
    """Rows as they are stored: codes, and the numbers beside them."""

    coded: RowCodes
    norms: Float32[np.ndarray, " m"]
    """Norms of the residuals."""
    lengths: Float32[np.ndarray, " m"]
    bias: Float32[np.ndarray, " m"]
    spill: tuple[UInt8[np.ndarray, "m bytes"], Float32[np.ndarray, " m"]] | None
    """Heads and scales of the codes in spill cells; None if there is one cell alone."""


def _code_rows(
    vectors: Float32[np.ndarray, "n dim"], layout: _CellLayout, metric: str
) -> Iterator[tuple[slice, _CodedRows]]:
    """Code all rows in order, on all cores."""

    def code(part: slice) -> _CodedRows:
        block, spill = vectors[part], None
        residuals, lengths = _residuals(block, layout, layout.assignment.cell_ids[part], metric)
        coded = layout.codec.encode(residuals, lengths)
        if len(layout.assignment.spill_cells):
            spilled, _ = _residuals(block, layout, layout.assignment.spill_cells[part], metric)
            spill = layout.codec.encode_head(spilled)
        return _CodedRows(coded, row_norms(residuals), lengths, rank_biases(block, metric), spill)

    return map_ordered(code, _parts(len(vectors), _CODED_ROWS))


def _write_rows(
    arrays: Mapping[str, np.ndarray],
    part: slice,
    rows: _CodedRows,
    assignment: kmeans.CellAssignment,
    statistics: _CellStatistics,
) -> None:
    cell_ids, slots, coded = assignment.cell_ids[part], assignment.slots[part], rows.coded
    statistics.add(cell_ids, rows)
    errors, row = float32_up(coded.word_errors), np.arange(part.start, part.stop)
    records = pack_records(coded.words, coded.scale, rows.bias, cell_ids, row, errors)
    arrays["records"][assignment.record_ids[part]] = records
    arrays["head_errors"][slots // LANES, :, slots % LANES] = bfloat16_up(coded.head_errors)
    _put_head(arrays, slots, coded.head, coded.scale, rows.bias)
    if rows.spill is not None:
        _put_head(arrays, assignment.spill_slots[part], *rows.spill, rows.bias)


def _put_head(
    arrays: Mapping[str, np.ndarray],
    slots: Int64[np.ndarray, " m"],
    head: UInt8[np.ndarray, "m bytes"],
    scale: Float32[np.ndarray, " m"],
    bias: Float32[np.ndarray, " m"],
) -> None:
    arrays["head"][slots // LANES, :, slots % LANES] = head
    arrays["scale"][slots] = scale
    if len(arrays["bias"]):
        arrays["bias"][slots] = bias


def rank_biases(block: Float32[np.ndarray, "n dim"], metric: str) -> Float32[np.ndarray, " n"]:
    """Compute what ranking adds to a row's inner product: −|x|²/2 if Euclidean, else 0."""
    if metric != "euclidean":
        return np.zeros(len(block), np.float32)
    squares = np.einsum("nd,nd->n", block, block, dtype=np.float64)
    return np.asarray(-squares / 2, np.float32)


def _assign_cells(
    vectors: Float32[np.ndarray, "n dim"],
    rotation: Float32[np.ndarray, "dim dim"],
    centroids: kmeans.Centroids,
    metric: str,
    advance: Advance,
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Assign each row its cell and its spill cell, by the prefix that the centroids have."""
    values = centroids.values()
    to_prefix = np.ascontiguousarray(rotation[:, : values.shape[1]])
    cell_ids, spill_cells = np.empty(len(vectors), np.int64), np.empty(len(vectors), np.int64)
    for part in _parts(len(vectors)):
        prefix = rows_to_code(vectors[part], metric) @ to_prefix
        cell_ids[part], spill_cells[part] = kmeans.assign_with_spill(prefix, values)
        advance(part.stop - part.start)
    return cell_ids, spill_cells


def _residuals(
    block: Float32[np.ndarray, "n dim"],
    layout: _CellLayout,
    cell_ids: Int64[np.ndarray, " n"],
    metric: str,
) -> tuple[Float32[np.ndarray, "n dim"], Float32[np.ndarray, " n"]]:
    """Subtract centroids from rotated rows; return the residuals and the norms of the rows."""
    coded = rows_to_code(block, metric)
    return _subtract_centroids(coded, layout.rotation, layout.centroids, cell_ids), row_norms(coded)


def _subtract_centroids(
    rows: Float32[np.ndarray, "n dim"],
    rotation: Float32[np.ndarray, "dim dim"],
    centroids: kmeans.Centroids,
    cell_ids: Int64[np.ndarray, " n"],
) -> Float32[np.ndarray, "n dim"]:
    """Rotate rows and subtract the centroids of their cells, which are 0 beyond their width."""
    rotated = np.asarray(rows @ rotation)
    values = centroids.values()
    rotated[:, : values.shape[1]] -= values[cell_ids]
    return rotated


def _fit_codec(
    vectors: Float32[np.ndarray, "n dim"],
    rotation: Float32[np.ndarray, "dim dim"],
    centroids: kmeans.Centroids,
    cell_ids: Int64[np.ndarray, " n"],
    energy: Float64[np.ndarray, " dim"],
    options: BuildOptions,
    rng: "np.random.Generator",
) -> Codec:
    sampled_rows = _sample_rows(len(vectors), _CODEC_SAMPLE, rng)
    rows = rows_to_code(np.asarray(vectors[sampled_rows]), options.metric)
    residuals = _subtract_centroids(rows, rotation, centroids, cell_ids[sampled_rows])
    return Codec.fit(residuals, energy, options.bits)


def _sample_rows(n: int, size: int, rng: "np.random.Generator") -> Int64[np.ndarray, " m"]:
    return np.sort(rng.choice(n, min(n, size), replace=False))


def _prefixes(
    vectors: Float32[np.ndarray, "n dim"],
    sampled_rows: Int64[np.ndarray, " m"],
    to_prefix: Float32[np.ndarray, "dim dims"],
    metric: str,
) -> Float32[np.ndarray, "m dims"]:
    """Rotate sampled rows to the prefix that cells are trained on, without holding all in full."""
    prefixes = np.empty((len(sampled_rows), to_prefix.shape[1]), np.float32)
    for part in _parts(len(sampled_rows), _CODED_ROWS):
        prefixes[part] = rows_to_code(vectors[sampled_rows[part]], metric) @ to_prefix
    return prefixes


def _parts(n: int, rows: int = BLOCK_ROWS) -> Iterator[slice]:
    return (slice(first, min(first + rows, n)) for first in range(0, n, rows))
