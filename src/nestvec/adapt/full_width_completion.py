"""Columns behind the trained ones, chosen so that scores at full width change little."""

from dataclasses import replace

import numpy as np

from nestvec.shapes import Float32, Float64
from nestvec.transforms.residual import Map, ResidualTransform

_LENGTH_SHARE = 0.7
"""Length of the trained columns, as a share of the best one for them alone; other columns make up
for the rest. Of .5, .7, .85 and 1 it preserved most of nDCG at full width on four collections."""
_COMPARED_ROWS = 1_000
"""Rows by which the completed map is compared with the trained one."""
_MIN_STRENGTH = 1e-9
"""Share of the strongest direction; rows have nothing to preserve in weaker ones."""


def complete_full_width(
    adaptor: ResidualTransform, documents: Float32[np.ndarray, "n dim"], width: int
) -> ResidualTransform:
    """Replace the columns behind the first `width`, if that brings full width nearer to the input.

    Cosines of prefixes up to `width` do not change. With A the first columns and C the second
    moment of the documents, the new columns are the B with which c²AAᵀ + BBᵀ is as near as possible
    to the identity for such rows, which would preserve all inner products: B = C^(−½) U √Λ, of the
    strongest directions of C − c² C^½ AAᵀ C^½.
    """
    dim = documents.shape[1]
    trained = adaptor.documents.matrix[:, :width].astype(np.float64)
    moment = (documents.T @ documents / len(documents)).astype(np.float64)
    root, inverse = moment_roots(moment)
    image = moment @ trained
    # tr(C G C) and tr(C G C G) with G = AAᵀ.
    length = np.square(image).sum() / np.square(trained.T @ image).sum()
    length = _LENGTH_SHARE * np.sqrt(length)
    covered = length * (root @ trained)
    strengths, directions = np.linalg.eigh(moment - covered @ covered.T)
    strongest = slice(None, -(dim - width) - 1, -1)
    scales = np.sqrt(np.maximum(strengths[strongest], 0))
    columns = inverse @ (directions[:, strongest] * scales)
    matrix = np.concatenate([length * trained, columns], axis=1).astype(np.float32)
    shared = Map(np.ascontiguousarray(matrix))
    completed = replace(adaptor, documents=shared, queries=shared)
    # A few columns cannot mend what many have bent.
    sample = documents[:_COMPARED_ROWS]
    return min(adaptor, completed, key=lambda candidate: mean_change(candidate, sample))


def mean_change(adaptor: ResidualTransform, rows: Float32[np.ndarray, "n dim"]) -> float:
    """Average the absolute change of all inner products."""
    mapped = adaptor.transform(rows)
    return float(np.abs(mapped @ mapped.T - rows @ rows.T).mean())


def moment_roots(
    moment: Float64[np.ndarray, "dim dim"],
) -> tuple[Float64[np.ndarray, "dim dim"], Float64[np.ndarray, "dim dim"]]:
    """Compute the symmetric root, and its inverse in directions where rows have any strength."""
    strengths, directions = np.linalg.eigh(moment)
    present = strengths > _MIN_STRENGTH * strengths[-1]
    root = np.sqrt(np.where(present, strengths, 0))
    inverse = np.where(present, 1 / np.where(present, root, 1), 0)
    return (
        np.asarray(directions * root @ directions.T),
        np.asarray(directions * inverse @ directions.T),
    )
