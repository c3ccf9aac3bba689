"""The texts that are embedded: sentences and titles of arXiv papers, definitions of WordNet."""

import csv
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

TEXTS = Path(__file__).parents[3] / "shared/data/texts"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_HELD_OUT_PAPERS = 500
_HELD_OUT_ROWS = 1_000


class Texts(NamedTuple):
    """What is searched in, and the held-out queries."""

    corpus: list[str]
    queries: list[str]


def arxiv_sentences(rows: int, queries: int = 1_000) -> Texts:
    """Sentences of abstracts in random order; the queries are sentences of 500 other papers.

    Whatever `rows`, the order and the queries are the same: a smaller set is a prefix of a larger.
    """
    papers = _records("arxiv-100k.tsv.gz")
    corpus = list(dict.fromkeys(_sentences(papers[:-_HELD_OUT_PAPERS])))
    seen = set(corpus)
    unseen = [s for s in dict.fromkeys(_sentences(papers[-_HELD_OUT_PAPERS:])) if s not in seen]
    rng = np.random.default_rng(0)
    return Texts(_pick(corpus, rows, rng), _pick(unseen, queries, rng))


def arxiv_titles() -> Texts:
    """All distinct titles but 1,000 random ones, which are the queries."""
    return hold_out([paper["title"] for paper in _records("arxiv-100k.tsv.gz")])


def wordnet_definitions() -> Texts:
    """All distinct definitions but 1,000 random ones, which are the queries."""
    return hold_out([synset["definition"] for synset in _records("wordnet-synsets.tsv.gz")])


def hold_out(texts: list[str]) -> Texts:
    """The distinct texts in their order, without 1,000 random ones, and these."""
    distinct = list(dict.fromkeys(texts))
    held = held_out_rows(len(distinct))
    kept = set(range(len(distinct))) - set(held.tolist())
    return Texts([distinct[i] for i in sorted(kept)], [distinct[i] for i in held])


def held_out_rows(count: int) -> np.ndarray:
    """The rows that become queries, the same ones every time."""
    return np.random.default_rng(0).permutation(count)[:_HELD_OUT_ROWS]


def _records(name: str) -> list[dict[str, str]]:
    csv.field_size_limit(1 << 30)
    with gzip.open(TEXTS / name, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _sentences(papers: list[dict[str, str]]) -> Iterator[str]:
    for paper in papers:
        for sentence in _SENTENCE_END.split(paper["abstract"]):
            if len(sentence.strip()) >= 30:
                yield sentence.strip()


def _pick(texts: list[str], count: int, rng: np.random.Generator) -> list[str]:
    return [texts[i] for i in rng.permutation(len(texts))[:count]]
