"""Texts changed and encoded anew, once, at full width: near misses, and queries with mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nestvec.auditing.options import Texts
from nestvec.auditing.perturbations.counterfactuals import Contrasts, contrast_triplets, contrasts
from nestvec.auditing.perturbations.mining import best_judged
from nestvec.auditing.perturbations.typos import with_typos
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import EDITED, Encoded, Judged, Triplets
from nestvec.encode import Encoder
from nestvec.errors import InputError
from nestvec.progress import Progress
from nestvec.shapes import Float32, Int64

TYPOS = "typos"
MOST_EDITED = 200
"""So many judged queries, drawn at random, have the document that answers them best edited."""
_OTHERS = 2000
"""Documents beside them, as random negatives."""
_COMPARED = 4
"""Texts that are encoded again to see whether the model is the one that made the vectors."""
_SAME = 0.1
"""Two encodings of one text differ by less than this share, whatever the batch and precision."""


@dataclass(frozen=True)
class Edited:
    """A small world at full width: documents of the corpus, and behind them edits of some."""

    full: Encoded
    triplets: Triplets
    """Rows of `full`; negatives are edits."""
    queries: Int64[np.ndarray, " q"]
    """The row that each query has in the audit."""
    rows: Int64[np.ndarray, " n"]
    """The row that each document has in the corpus; −1: an edit."""

    @property
    def corpus(self) -> int:
        """Documents that are no edits; they come first."""
        return int((self.rows >= 0).sum())


def edit_documents(
    texts: Texts, full: Encoded, judged: Judged, seed: int, progress: Progress
) -> Edited | None:
    """Of up to 200 judged queries the best document with one detail wrong, up to four times.

    None without texts or a model, or where no rule fits any of the texts.
    """
    if texts.documents is None or texts.encoder is None:
        return None
    rng = generator(seed, EDITED)
    some = _some_queries(judged, rng)
    sources = np.unique(best_judged(some)[1])
    edits = contrasts(texts.documents, sources, rng)
    if not edits.texts:
        return None
    _check_model(texts.encoder, texts.documents, full.documents, "documents")
    return _world(full, texts.encoder.encode(edits.texts, progress), edits, some, rng)


def mistype_queries(
    texts: Texts, full: Encoded, rows: Int64[np.ndarray, " some"], seed: int, progress: Progress
) -> Float32[np.ndarray, "some dim"] | None:
    """The queries of these rows, each with one typing error; None without texts or a model."""
    encoder = texts.query_encoder or texts.encoder
    if texts.queries is None or encoder is None:
        return None
    _check_model(encoder, texts.queries, full.queries, "queries")
    typed = with_typos([texts.queries[row] for row in rows], generator(seed, TYPOS))
    return encoder.encode(typed, progress)


def _some_queries(judged: Judged, rng: np.random.Generator) -> Judged:
    some = rng.permutation(np.unique(judged.queries))[:MOST_EDITED]
    kept = np.isin(judged.queries, some)
    return Judged(judged.queries[kept], judged.documents[kept], judged.grades[kept])


def _world(
    full: Encoded,
    vectors: Float32[np.ndarray, "edits dim"],
    edits: Contrasts,
    judged: Judged,
    rng: np.random.Generator,
) -> Edited:
    n = len(full.documents)
    triplets = contrast_triplets(edits, judged, n)
    queries = np.unique(triplets.queries)
    kept = np.union1d(triplets.positives, rng.permutation(n)[:_OTHERS])
    documents = np.concatenate([full.documents[kept], vectors])
    moved = Triplets(
        np.searchsorted(queries, triplets.queries),
        np.searchsorted(kept, triplets.positives),
        triplets.negatives - n + len(kept),
        triplets.kinds,
    )
    rows = np.concatenate([kept, np.full(len(vectors), -1)])
    return Edited(Encoded(full.queries[queries], documents), moved, queries, rows)


def _check_model(
    encoder: Encoder, texts: Sequence[str], vectors: Float32[np.ndarray, "n dim"], name: str
) -> None:
    """That the model makes of some texts the vectors that they have."""
    some = np.linspace(0, len(texts) - 1, min(_COMPARED, len(texts))).astype(int)
    known, again = vectors[some], encoder.encode([texts[row] for row in some])
    if again.shape == known.shape:
        away = np.linalg.norm(known - again, axis=1) / np.linalg.norm(again, axis=1)
        if away.max() <= _SAME:
            return
        said = f"they differ by {away.max():.0%} of their length"
    else:
        said = f"they have {again.shape[1]} dimensions, not {known.shape[1]}"
    raise InputError(
        f"the model makes other vectors of the texts of {name} than these have ({said}); "
        "give the model and the texts that the vectors were made by, row by row"
    )
