"""Residual codes: how many bits each group of dimensions gets, and how to read fewer of them.

The residual of a row to the centroid of its cell is divided by its length and, per dimension, by
the spread `sigma` that such residuals have; the result has unit variance and a bell shape, and goes
through a uniform quantiser. Groups of 64 dimensions get bits by reverse water-filling (Cover &
Thomas, §10.3.3): the next bit goes where it removes most of the squared error of an inner product
with a query, according to the energies of residuals and queries there. Front groups of a rotated
embedding get 3 to 4 bits and back groups none. Bit p of all 64 codes of a group is one 64-bit
*word*, highest bit first; the order in which water-filling gave the words out is their
significance.

A stage `dims × bits` reads the most significant `dims · bits / 64` words of its dimensions: `bits`
is their average number of planes, and `dims · bits / 8` the bytes read per row. However many planes
r of a group that makes, the decoded value is linear in them,

    decoded_i = norm · sigma_i · Σ_{p<r} coefficient[group, r, p] · (bit_p − ½),

with coefficients fitted by least squares for that r: the best decoding that r planes allow.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nestvec.errors import PlanError
from nestvec.kernels import load
from nestvec.kernels.layout import GROUP, Funnel, part_bounds
from nestvec.plan import Plan, Stage
from nestvec.shapes import Float32, Float64, Int64, UInt8, UInt64

MAX_BITS = 8
"""Most planes of a group: a code is a byte, and eight bits leave 0.009 % of the variance."""
# Best step, in standard deviations, of a uniform quantiser of 0 to 8 bits for a normal variable,
# and the share of the variance it leaves (Max 1960, table II, extended numerically).
_STEPS = np.array([1, 1.5958, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308], np.float32)
REMAINING_VARIANCE = np.array(
    [1, 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.00104, 0.000304, 0.000089]
)
_MIN_INNER = 1e-3
"""Below this ⟨r, decoded⟩ / |r| a scale blows up noise; of the longest rows, beyond float32."""
_HEAD_SHARE = 0.5
"""Share of the words that are the head (docs/explanation/decisions/0020)."""
_LONGEST_HEAD = 128
"""Words whose table entries 16-bit sums can hold."""
_ROUNDING = 2.0**-24
"""Largest relative error of one float32 operation."""
_SMALLEST = 2.0**-148
"""Times dim: no less than what dim + 3 float32 operations lose below the normal range."""


class RowCodes(NamedTuple):
    """Codes of some rows, as they are stored."""

    words: UInt64[np.ndarray, "n words"]
    head: UInt8[np.ndarray, "n bytes"]
    """The bytes of the head words."""
    scale: Float32[np.ndarray, " n"]
    head_errors: Float64[np.ndarray, "n parts"]
    """Upper bounds on the norm of residual − decoded head, for each part of the dimensions."""
    word_errors: Float64[np.ndarray, "n parts"]
    """The same for the decoding of all words."""


def word_order(energy: Float64[np.ndarray, " groups"], count: int) -> Int64[np.ndarray, "words 2"]:
    """Order the first `count` words, (group, plane), by significance: water-filling.

    Greedy, which is optimal since each further plane of a group removes less; equal gains go to the
    earlier group. At most `MAX_BITS` planes a group.
    """
    planes = np.zeros(len(energy), np.int64)
    words = np.empty((min(count, MAX_BITS * len(energy)), 2), np.int64)
    for word in words:
        removed = np.append(REMAINING_VARIANCE[:-1] - REMAINING_VARIANCE[1:], 0.0)[planes]
        group = np.argmax(np.where(planes < MAX_BITS, energy * removed, -1.0))
        word[:] = group, planes[group]
        planes[group] += 1
    return words


def row_norms(vectors: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, " n"]:
    """Compute Euclidean norms, summed in float64."""
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return np.asarray(np.sqrt(squares), np.float32)


@dataclass(frozen=True, eq=False)
class Codec:
    """A code for the residuals of one segment: fitted by `Codec.fit`, stored with the segment."""

    sigma: Float32[np.ndarray, " dim"]
    words: Int64[np.ndarray, "words 2"]
    """(group, plane) of each stored word, most significant first."""
    coefficients: Float32[np.ndarray, "groups reads planes"]

    @classmethod
    def fit(
        cls,
        residuals: Float32[np.ndarray, "n dim"],
        query_energy: Float64[np.ndarray, " dim"],
        bits_per_dim: float,
    ) -> "Codec":
        """Fit a code to a sample of residuals; without rows or spread, all dimensions are alike.

        `query_energy` is the mean square that queries are expected to have in each dimension: the
        corpus stands in for them.
        """
        dim = residuals.shape[1]
        norms = row_norms(residuals)
        unit = residuals[norms > 0] / norms[norms > 0, None]
        energy = np.square(unit, dtype=np.float64).mean(axis=0) if len(unit) else np.ones(dim) / dim
        # A dimension without spread still needs a finite scale for rows that come later.
        floor = max(energy.max(), 1e-30) * 1e-6
        sigma = np.sqrt(np.maximum(energy, floor)).astype(np.float32)
        # With fewer rows than dimensions, energies of a rotation may round to just below zero.
        weights = np.maximum(query_energy, 0) if query_energy.any() else np.ones(dim)
        group_starts = np.arange(0, dim, GROUP)
        # The square root of the queries' energy, as measured: without it refining needs twice the
        # candidates, with the energy itself scanning does (docs/explanation/decisions/0004).
        error = np.add.reduceat(energy, group_starts)
        error *= np.sqrt(np.add.reduceat(weights, group_starts))
        words = word_order(error, max(1, round(bits_per_dim * dim / GROUP)))
        blank = np.zeros((len(group_starts), MAX_BITS + 1, MAX_BITS), np.float32)
        codec = cls(sigma, words, blank)
        codes = codec._quantize(residuals[norms > 0], norms[norms > 0])
        return replace(codec, coefficients=codec._fit_coefficients(codes, unit / sigma))

    @property
    def dim(self) -> int:
        """Width of the vectors that are coded."""
        return len(self.sigma)

    @cached_property
    def width(self) -> int:
        """Number of dimensions up to the last one that has bits."""
        return min(self.dim, GROUP * (1 + int(self.words[:, 0].max())))

    @cached_property
    def bits(self) -> Int64[np.ndarray, " groups"]:
        """Stored bits per dimension, group by group."""
        return np.bincount(self.words[:, 0], minlength=-(-self.dim // GROUP))

    @cached_property
    def head_rectangle(self) -> tuple[int, int]:
        """The `dims × bits` whose words lie in the head: the cheapest first stage."""
        words = min(_LONGEST_HEAD, max(1, round(len(self.words) * _HEAD_SHARE)))
        # Without a rotation the most significant word may lie far back: reach for it.
        groups = max(words, 1 + int(self.words[0, 0]))
        return min(self.dim, GROUP * groups), -(-words // len(self.bits))

    @cached_property
    def full_rectangle(self) -> tuple[int, int]:
        """The `dims × bits` of all words: a word of the last group may hold few dimensions."""
        return self.dim, -(-GROUP * len(self.words) // self.dim)

    @cached_property
    def head(self) -> Int64[np.ndarray, " head"]:
        """Places in `words` of the words that lie in the head, in the order of the head."""
        return self._read(*self.head_rectangle)

    def encode(
        self, residuals: Float32[np.ndarray, "n dim"], lengths: Float32[np.ndarray, " n"]
    ) -> RowCodes:
        """Code residuals, of rows of these lengths.

        The scale of a row is |r|² / ⟨r, decoded direction⟩. With that the decoded row has the true
        inner product with the row itself, which removes the shrinkage of quantisation (RaBitQ, Gao
        & Long 2024, eq. 12). A row equal to its centroid has scale 0, and so has one whose
        decoding is next to nothing.

        The errors allow for the rounding of what led to `residuals`. A rotated entry is a product
        of the row x with a column of length ≤ 1.01, added up in float32 in any order: it is off by
        at most γ · 1.01 |x|, γ = dim · u / (1 − dim · u), u = 2⁻²⁴ (Higham 2002, §3.1); taking the
        centroid off, and making a direction of the row before, are within 2u |r| and 4u |x|. Below
        float32's normal range each of dim + 3 operations is off by up to 2⁻¹⁵⁰ besides.
        """
        words, scale, codes = self._encode(residuals)
        n_planes = np.bincount(self.words[self.head, 0], minlength=len(self.bits))
        gamma = self.dim * _ROUNDING / (1 - self.dim * _ROUNDING)
        widths = np.sqrt(np.diff(part_bounds(self.dim)))
        norms = row_norms(residuals)
        rounding = 1.02 * gamma * lengths[:, None] * widths
        rounding += _ROUNDING * (2 * norms + 4 * lengths)[:, None] + self.dim**1.5 * _SMALLEST
        return RowCodes(
            words,
            self._head_bytes(words),
            scale,
            self._residual_norms(residuals, codes, n_planes, scale) + rounding,
            self._residual_norms(residuals, codes, self.bits, scale) + rounding,
        )

    def _encode(
        self, residuals: Float32[np.ndarray, "n dim"]
    ) -> tuple[
        UInt64[np.ndarray, "n words"], Float32[np.ndarray, " n"], UInt8[np.ndarray, "n dim"]
    ]:
        norms = row_norms(residuals)
        codes = self._quantize(residuals, norms)
        groups, planes = np.ascontiguousarray(self.words.T)
        words = load().pack_words(codes, groups, self.bits[groups] - 1 - planes)
        values = self._values(self.bits)
        inner = load().inner_with_decoded(residuals, codes, values, self.sigma)
        safe = np.where(inner > _MIN_INNER * norms, inner, np.inf)
        return words, (norms.astype(np.float64) ** 2 / safe).astype(np.float32), codes

    def _head_bytes(self, words: UInt64[np.ndarray, "n words"]) -> UInt8[np.ndarray, "n bytes"]:
        head = np.ascontiguousarray(words[:, self.head]).view(np.uint8)
        return head.reshape(len(words), 8 * len(self.head))

    def encode_head(
        self, residuals: Float32[np.ndarray, "n dim"]
    ) -> tuple[UInt8[np.ndarray, "n bytes"], Float32[np.ndarray, " n"]]:
        """Compute only the `head` and `scale` of `encode`."""
        words, scale, _ = self._encode(residuals)
        return self._head_bytes(words), scale

    def funnel(self, plan: Plan) -> Funnel:
        """Translate the coded stages of a plan into the flat arrays that kernels read."""
        stages = [self._stage_words(stage) for stage in plan.stages]
        words = np.concatenate([np.empty(0, np.int64), *stages])
        groups, planes = np.ascontiguousarray(self.words[words].T)
        depths = [self._n_planes_read(stage) for stage in stages]
        head_word_slots = np.full(len(self.words), -1)
        head_word_slots[self.head] = np.arange(len(self.head))
        return Funnel(
            dims=np.array([stage.dims for stage in plan.stages], np.int64),
            keep=np.array([stage.keep for stage in plan.stages], np.int64),
            starts=np.cumsum([0, *map(len, stages)], dtype=np.int64),
            word_slots=words,
            head_word_slots=head_word_slots[words],
            groups=groups,
            coefficients=self.coefficients[
                groups, np.concatenate([np.empty(0, np.int64), *depths]), planes
            ],
        )

    def _n_planes_read(self, words: Int64[np.ndarray, " read"]) -> Int64[np.ndarray, " read"]:
        """Count, for each word that a stage reads, the planes that it reads of the same group."""
        groups = self.words[words, 0]
        return np.asarray(np.bincount(groups, minlength=len(self.bits))[groups])

    @cached_property
    def full_funnel(self) -> Funnel:
        """Funnel of two stages, the head and all words, from which bounds are computed."""
        stages = Stage(*self.head_rectangle, 1), Stage(*self.full_rectangle, 1)
        return self.funnel(Plan(None, stages))

    def _stage_words(self, stage: Stage) -> Int64[np.ndarray, " read"]:
        words = self._read(stage.dims, stage.bits)
        if len(words) == 0:
            raise PlanError(
                f"stage {stage} reads no stored bits: this index has none in its first "
                f"{stage.dims} dimensions; read more of them "
                f"(bits per group of {GROUP}: {self.bits.tolist()})"
            )
        return words

    def _read(self, dims: int, bits: int) -> Int64[np.ndarray, " read"]:
        """Choose the most significant words of the first `dims` dimensions, `bits` a dimension."""
        words = np.flatnonzero(self.words[:, 0] * GROUP < dims)
        return words[: -(-dims * bits // GROUP)]

    def _quantize(
        self, residuals: Float32[np.ndarray, "n dim"], norms: Float32[np.ndarray, " n"]
    ) -> UInt8[np.ndarray, "n dim"]:
        bits = np.repeat(self.bits, GROUP)[: self.dim]
        return np.asarray(
            load().quantize_residuals(residuals, norms, self.sigma, _STEPS[bits], 2**bits)
        )

    def _parts(self) -> list[tuple[int, int, slice]]:
        """List (group, bits, dimensions) of all groups."""
        ends = [min(GROUP * (group + 1), self.dim) for group in range(len(self.bits))]
        return [(g, int(self.bits[g]), slice(GROUP * g, end)) for g, end in enumerate(ends)]

    def _fit_coefficients(
        self, codes: UInt8[np.ndarray, "n dim"], targets: Float32[np.ndarray, "n dim"]
    ) -> Float32[np.ndarray, "groups reads planes"]:
        coefficients = np.zeros_like(self.coefficients)
        for group, bits, part in self._parts():
            for planes in range(1, bits + 1):
                coefficients[group, planes, :planes] = _fit_planes(
                    codes[:, part], targets[:, part], bits, planes
                )
        return coefficients

    def _residual_norms(
        self,
        residuals: Float32[np.ndarray, "n dim"],
        codes: UInt8[np.ndarray, "n dim"],
        n_planes: Int64[np.ndarray, " groups"],
        scale: Float32[np.ndarray, " n"],
    ) -> Float64[np.ndarray, "n parts"]:
        """Compute the norms of residual − scale · decoded leading planes, part by part."""
        values, bounds = self._values(n_planes), part_bounds(self.dim)
        return load().residual_norms(residuals, codes, values, self.sigma, scale, bounds)

    def _values(self, n_planes: Int64[np.ndarray, " groups"]) -> Float32[np.ndarray, "groups 256"]:
        """Decode the leading planes of all codes of each group, in units of the spread."""
        values = np.zeros((len(self.bits), 2**MAX_BITS), np.float32)
        for group, bits, _ in self._parts():
            depth = int(n_planes[group])
            planes = np.arange(2**bits)[:, None] >> (bits - 1 - np.arange(depth)) & 1
            part = (planes - np.float32(0.5)) @ self.coefficients[group, depth, :depth]
            values[group, : 2**bits] = part
        return values


def _fit_planes(
    codes: UInt8[np.ndarray, "n part"],
    targets: Float32[np.ndarray, "n part"],
    bits: int,
    planes: int,
) -> Float64[np.ndarray, " planes"]:
    """Fit weights of the leading planes by least squares; few data get the quantiser's steps."""
    signs = (codes[..., None] >> (bits - 1 - np.arange(planes)) & 1) - np.float32(0.5)
    features = signs.reshape(-1, planes)
    gram = (features.T @ features).astype(np.float64)
    if len(features) < GROUP * planes or np.linalg.cond(gram) > 1e6:
        return np.asarray(_STEPS[bits] * 2.0 ** (bits - 1 - np.arange(planes)))
    return np.linalg.solve(gram, (features.T @ targets.reshape(-1)).astype(np.float64))
