"""Counterfactual documents and mistyped queries: edited texts, encoded at full width."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nestvec.auditing.options import AuditTexts
from nestvec.auditing.perturbations.counterfactuals import (
    CounterfactualTexts,
    counterfactual_triplets,
    make_counterfactual_texts,
)
from nestvec.auditing.perturbations.mining import most_relevant
from nestvec.auditing.perturbations.typos import add_typos
from nestvec.auditing.seeding import generator
from nestvec.auditing.types import EmbeddingPair, RelevanceJudgments, Triplets
from nestvec.encode import Encoder
from nestvec.encode.encoder import encode_side
from nestvec.encode.prompts import Side
from nestvec.errors import InputError
from nestvec.progress import Progress
from nestvec.shapes import Float32, Int64

TYPOS = "typos"
"""Name of the perturbation by typing errors, and its seed key."""
MAX_EDITED = 200
"""Judged queries, drawn at random, whose best document is edited: encoding stays cheap."""
_SEED_KEY = "edited"
"""Seed key of counterfactuals. Part of every figure: never change it."""
_EXTRA_DOCUMENTS = 2000
"""Documents beside the edited ones, as random negatives."""
_COMPARED_TEXTS = 4
"""Texts that are encoded again to see whether the encoder is the one of the vectors."""
_SAME_VECTOR_TOLERANCE = 0.1
"""Two encodings of one text differ by less than this share, whatever the batch and precision."""


@dataclass(frozen=True)
class Counterfactuals:
    """A small corpus at full width: documents of the audit, and behind them edits of some."""

    full: EmbeddingPair
    triplets: Triplets
    """Rows of `full`; negatives are edits."""
    queries: Int64[np.ndarray, " q"]
    """Row of each query in the audit."""
    rows: Int64[np.ndarray, " n"]
    """Row of each document in the corpus; −1: an edit."""

    @property
    def n_corpus(self) -> int:
        """Number of documents of the corpus; they come first."""
        return int((self.rows >= 0).sum())


def make_counterfactuals(
    texts: AuditTexts,
    full: EmbeddingPair,
    judgments: RelevanceJudgments,
    seed: int,
    progress: Progress,
) -> Counterfactuals | None:
    """Edit and encode the best documents of up to 200 queries, each up to four times.

    The queries have judgments. An edit makes one detail wrong. None without texts or encoder, or
    where no rule fits any text.
    `InputError` for an encoder that is not the one of the vectors.
    """
    if texts.documents is None or texts.encoder is None:
        return None
    rng = generator(seed, _SEED_KEY)
    sample = _sample_queries(judgments, rng)
    sources = np.unique(most_relevant(sample)[1])
    edits = make_counterfactual_texts(texts.documents, sources, rng)
    if not edits.texts:
        return None
    _check_encoder(texts.encoder, texts.documents, full.documents, "document")
    vectors = encode_side(texts.encoder, "document", edits.texts, progress)
    return _edit_corpus(full, vectors, edits, sample, rng)


def reencode_with_typos(
    texts: AuditTexts,
    full: EmbeddingPair,
    rows: Int64[np.ndarray, " sample"],
    seed: int,
    progress: Progress,
) -> Float32[np.ndarray, "sample dim"] | None:
    """Encode the queries of these rows with one typing error each; None without texts or encoder.

    `InputError` for an encoder that is not the one of the vectors.
    """
    encoder = texts.query_encoder or texts.encoder
    if texts.queries is None or encoder is None:
        return None
    _check_encoder(encoder, texts.queries, full.queries, "query")
    mistyped = add_typos([texts.queries[row] for row in rows], generator(seed, TYPOS))
    return encode_side(encoder, "query", mistyped, progress)


def _sample_queries(judgments: RelevanceJudgments, rng: np.random.Generator) -> RelevanceJudgments:
    sample = rng.permutation(np.unique(judgments.queries))[:MAX_EDITED]
    mask = np.isin(judgments.queries, sample)
    return RelevanceJudgments(
        judgments.queries[mask], judgments.documents[mask], judgments.grades[mask]
    )


def _edit_corpus(
    full: EmbeddingPair,
    vectors: Float32[np.ndarray, "edits dim"],
    edits: CounterfactualTexts,
    judgments: RelevanceJudgments,
    rng: np.random.Generator,
) -> Counterfactuals:
    n = len(full.documents)
    triplets = counterfactual_triplets(edits, judgments, n)
    queries = np.unique(triplets.queries)
    corpus_rows = np.union1d(triplets.positives, rng.permutation(n)[:_EXTRA_DOCUMENTS])
    documents = np.concatenate([full.documents[corpus_rows], vectors])
    translated = Triplets(
        np.searchsorted(queries, triplets.queries),
        np.searchsorted(corpus_rows, triplets.positives),
        triplets.negatives - n + len(corpus_rows),
        triplets.kinds,
    )
    rows = np.concatenate([corpus_rows, np.full(len(vectors), -1)])
    return Counterfactuals(
        EmbeddingPair(full.queries[queries], documents), translated, queries, rows
    )


def _check_encoder(
    encoder: Encoder, texts: Sequence[str], vectors: Float32[np.ndarray, "n dim"], side: Side
) -> None:
    """Raise `InputError` unless the encoder reproduces the vectors of a few texts."""
    sample = np.linspace(0, len(texts) - 1, min(_COMPARED_TEXTS, len(texts))).astype(int)
    expected, sampled = vectors[sample], [texts[row] for row in sample]
    encoded_again = encode_side(encoder, side, sampled)
    difference = _difference(expected, encoded_again)
    if difference is None:
        return
    name = "queries" if side == "query" else "documents"
    prompts = getattr(encoder.info, "prompts", None)
    other: Side = "document" if side == "query" else "query"
    if prompts is not None and _difference(expected, encode_side(encoder, other, sampled)) is None:
        raise InputError(
            f"the {name} were encoded as the other side, with the prompt {prompts.of(other)!r}, "
            f"and figures of them would mislead; encode them with encode_{side}(), which puts "
            f"{prompts.of(side)!r} before each (nestvec encode --side {side})"
        )
    plain = getattr(encoder, "encode_without_side", encoder.encode)
    if prompts is not None and _difference(expected, plain(sampled)) is None:
        raise InputError(
            f"the {name} were encoded without the prompt {prompts.of(side)!r} that "
            f"{encoder.info.name} has for them, and figures of them would mislead; encode them "
            f"with encode_{side}() (nestvec encode --side {side})"
        )
    raise InputError(
        f"the model makes other vectors of the texts of {name} than these have ({difference}); "
        "pass the model and the texts that the vectors were made of, row by row"
    )


def _difference(
    expected: Float32[np.ndarray, "n dim"], encoded_again: Float32[np.ndarray, "n other"]
) -> str | None:
    """Describe how vectors of the same texts differ; None for less than rounding explains."""
    if encoded_again.shape != expected.shape:
        return f"they have {encoded_again.shape[1]} dimensions, not {expected.shape[1]}"
    lengths = np.linalg.norm(encoded_again, axis=1)
    differences = np.linalg.norm(expected - encoded_again, axis=1) / lengths
    if differences.max() <= _SAME_VECTOR_TOLERANCE:
        return None
    return f"they differ by {differences.max():.0%} of their length"
