"""Building an index from a stream of blocks, in memory that does not grow with the vectors.

Three passes over the vectors, `BLOCK_ROWS` at a time: (1) check, copy, add up the second moment;
(2) rotate, find each row's cell, sum up centroids; (3) rotate, code the residuals, put the codes in
their places. Besides a few blocks, memory holds 24 bytes per row and the k-means sample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestvec.adapt.rotation import Rotation, second_moment
from nestvec.codes import Codec
from nestvec.index import cells as kmeans
from nestvec.index.rows import Source, copy_blocks, vectors_name, writing_rows
from nestvec.index.segment import codes_name
from nestvec.index.tensors import Layout, TensorWriter
from nestvec.kernels.reference import LANES
from nestvec.progress import Advance, Progress
from nestvec.shapes import Float, Float32, Float64, Int64, UInt64
from nestvec.vectors import BLOCK_ROWS

_CODEC_SAMPLE = 16_384


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How to lay out a segment; `Index.build` documents each."""

    rotation: str
    bits: float
    seed: int


def write_segment(
    folder: Path,
    number: int,
    sources: Sequence[Source],
    options: BuildOptions,
    progress: Progress,
) -> None:
    """Write the two files of the segment that holds the rows of `sources`."""
    n, dim = sum(map(len, sources)), sources[0].rows.vectors.shape[1]
    with (
        progress("indexing", 3 * n) as advance,
        writing_rows(folder / vectors_name(number), sources) as stored,
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


def _write_codes(
    path: Path,
    vectors: Float32[np.ndarray, "n dim"],
    moment: Float[np.ndarray, "dim dim"],
    options: BuildOptions,
    advance: Advance,
) -> None:
    rng = np.random.default_rng(options.seed)
    dim = vectors.shape[1]
    pca = options.rotation == "pca"
    rotation = (Rotation.from_second_moment(moment) if pca else Rotation.identity(dim)).matrix
    energy = np.einsum("ij,ik,kj->j", rotation, moment, rotation, optimize=True)
    cell_dims = kmeans.cell_dims(energy)
    count = kmeans.cell_count(len(vectors))
    sample = _sample(vectors, kmeans.sample_size(count), rng) @ rotation[:, :cell_dims]
    centroids = kmeans.train_cells(sample, count, rng)
    owners = _assign_all(vectors, rotation, centroids, advance)
    codec = _fit_codec(vectors, rotation, centroids, owners, energy, options.bits, rng)
    places, counts, starts = _places(owners, count)
    structure: dict[str, np.ndarray] = {
        "rotation": rotation,
        "centroids": centroids,
        "starts": starts,
        "counts": counts,
        "sigma": codec.sigma,
        "words": codec.words,
        "coefficients": codec.coefficients,
        "rows": _rows_in_places(places, LANES * int(starts[-1])),
    }
    blocks = int(starts[-1])
    bulk: Layout = {
        "head": (np.dtype(np.uint64), (blocks, len(codec.head), LANES)),
        "tail": (np.dtype(np.uint64), (LANES * blocks, len(codec.tail))),
        "scale": (np.dtype(np.float32), (LANES * blocks,)),
    }
    layout: Layout = {name: (array.dtype, array.shape) for name, array in structure.items()}
    # Bulk is whole cache lines; after it the widest numbers first: then each array is aligned.
    aligned = dict(sorted(layout.items(), key=lambda item: -item[1][0].itemsize))
    with TensorWriter(path, {**bulk, **aligned}) as writer:
        for name, array in structure.items():
            writer.arrays[name][...] = array
        writer.arrays["scale"][...] = np.nan
        for part in _parts(len(vectors)):
            residuals = _residuals(vectors[part], rotation, centroids, owners[part])
            words, scale = codec.encode(residuals)
            _put(writer, places[part], words, scale, codec)
            advance(part.stop - part.start)


def _put(
    writer: TensorWriter,
    places: Int64[np.ndarray, " m"],
    words: UInt64[np.ndarray, "m words"],
    scale: Float32[np.ndarray, " m"],
    codec: Codec,
) -> None:
    writer.arrays["scale"][places] = scale
    writer.arrays["head"][places // LANES, :, places % LANES] = words[:, codec.head]
    writer.arrays["tail"][places] = words[:, codec.tail]


def _assign_all(
    vectors: Float32[np.ndarray, "n dim"],
    rotation: Float32[np.ndarray, "dim dim"],
    centroids: Float32[np.ndarray, "cells dims"],
    advance: Advance,
) -> Int64[np.ndarray, " n"]:
    """Each row's cell, judged on the prefix that the centroids have."""
    to_prefix = np.ascontiguousarray(rotation[:, : centroids.shape[1]])
    owners = np.empty(len(vectors), np.int64)
    for part in _parts(len(vectors)):
        owners[part] = kmeans.assign(vectors[part] @ to_prefix, centroids)
        advance(part.stop - part.start)
    return owners


def _residuals(
    block: Float32[np.ndarray, "n dim"],
    rotation: Float32[np.ndarray, "dim dim"],
    centroids: Float32[np.ndarray, "cells dims"],
    owners: Int64[np.ndarray, " n"],
) -> Float32[np.ndarray, "n dim"]:
    """Rotated rows less their centroids, which are zero beyond their width."""
    rotated = np.asarray(block @ rotation)
    rotated[:, : centroids.shape[1]] -= centroids[owners]
    return rotated


def _fit_codec(
    vectors: Float32[np.ndarray, "n dim"],
    rotation: Float32[np.ndarray, "dim dim"],
    centroids: Float32[np.ndarray, "cells dims"],
    owners: Int64[np.ndarray, " n"],
    energy: Float64[np.ndarray, " dim"],
    bits: float,
    rng: "np.random.Generator",
) -> Codec:
    chosen = _sample_rows(len(vectors), _CODEC_SAMPLE, rng)
    residuals = _residuals(vectors[chosen], rotation, centroids, owners[chosen])
    return Codec.fit(residuals, energy, bits)


def _places(
    owners: Int64[np.ndarray, " n"], count: int
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " cells"], Int64[np.ndarray, " starts"]]:
    """Each row's place, and per cell its rows and its first block; cells fill in row order."""
    counts = np.bincount(owners, minlength=count)
    starts = np.concatenate([[0], np.cumsum(-(-counts // LANES))])
    order = np.argsort(owners, kind="stable")
    within = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.empty(len(owners), np.int64)
    places[order] = LANES * starts[owners[order]] + within
    return places, counts, starts


def _rows_in_places(places: Int64[np.ndarray, " n"], room: int) -> np.ndarray:
    rows = np.full(room, -1, np.int32)
    rows[places] = np.arange(len(places), dtype=np.int32)
    return rows


def _sample_rows(n: int, size: int, rng: "np.random.Generator") -> Int64[np.ndarray, " m"]:
    return np.sort(rng.choice(n, min(n, size), replace=False))


def _sample(
    vectors: Float32[np.ndarray, "n dim"], size: int, rng: "np.random.Generator"
) -> Float32[np.ndarray, "m dim"]:
    return np.asarray(vectors[_sample_rows(len(vectors), size, rng)])


def _parts(n: int) -> Iterator[slice]:
    return (slice(first, min(first + BLOCK_ROWS, n)) for first in range(0, n, BLOCK_ROWS))
