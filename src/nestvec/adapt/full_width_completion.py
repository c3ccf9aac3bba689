"""What stands behind the columns that were trained, so that full width is what it was."""

from dataclasses import replace

import numpy as np

from nestvec.adapt.matryoshka_adaptor import Map, MatryoshkaAdaptor
from nestvec.shapes import Float32, Float64

_SHARE = 0.7
"""Of the best length for the trained columns alone; the rest is left to the others. Of .5, .7, .85
and 1 the one that kept most of nDCG at full width on four collections."""
_COMPARED = 1_000
_FLOOR = 1e-9
"""Of the strongest direction; below it rows have nothing that could be kept."""


def completed(
    adaptor: MatryoshkaAdaptor, documents: Float32[np.ndarray, "n dim"], width: int
) -> MatryoshkaAdaptor:
    """The adaptor with other columns behind the first `width`, if that mends full width.

    The cosines of prefixes up to `width` do not change. With A the first columns and C the second
    moment of the documents, the others are B such that c²AAᵀ + BBᵀ is as near to the identity as
    it can be for rows like these, which would keep all inner products: B = C^(−½) U √Λ, of the
    strongest directions of C − c² C^½ AAᵀ C^½.
    """
    dim = documents.shape[1]
    first = adaptor.documents.matrix[:, :width].astype(np.float64)
    moment = (documents.T @ documents / len(documents)).astype(np.float64)
    root, inverse = _roots(moment)
    kept = moment @ first
    # tr(C G C) and tr(C G C G) with G = AAᵀ.
    length = _SHARE * np.sqrt(np.square(kept).sum() / np.square(first.T @ kept).sum())
    bent = length * (root @ first)
    strengths, directions = np.linalg.eigh(moment - bent @ bent.T)
    strongest = slice(None, -(dim - width) - 1, -1)
    others = inverse @ (directions[:, strongest] * np.sqrt(np.maximum(strengths[strongest], 0)))
    matrix = np.concatenate([length * first, others], axis=1).astype(np.float32)
    both = Map(np.ascontiguousarray(matrix))
    whole = replace(adaptor, documents=both, queries=both)
    # A few columns cannot mend what many have bent.
    return min(adaptor, whole, key=lambda one: _away(one, documents[:_COMPARED]))


def _away(adaptor: MatryoshkaAdaptor, rows: Float32[np.ndarray, "n dim"]) -> float:
    """How far inner products are from what they were, on average."""
    given = adaptor.transform(rows)
    return float(np.abs(given @ given.T - rows @ rows.T).mean())


def _roots(
    moment: Float64[np.ndarray, "dim dim"],
) -> tuple[Float64[np.ndarray, "dim dim"], Float64[np.ndarray, "dim dim"]]:
    """The symmetric root, and its inverse where rows have any strength."""
    strengths, directions = np.linalg.eigh(moment)
    there = strengths > _FLOOR * strengths[-1]
    root = np.sqrt(np.where(there, strengths, 0))
    inverse = np.where(there, 1 / np.where(there, root, 1), 0)
    return (
        np.asarray(directions * root @ directions.T),
        np.asarray(directions * inverse @ directions.T),
    )
