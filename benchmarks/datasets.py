"""Real vectors for the benchmarks, made once and kept in `benchmarks/data/` (not in git)."""

import csv
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nestvec.encode import encode_to_file, open_encoder
from nestvec.progress import bar

HERE = Path(__file__).parent
ARXIV = HERE.parents[1] / "shared/data/texts/arxiv-100k.tsv.gz"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_HELD_OUT_PAPERS = 500


class Dataset(NamedTuple):
    """Unit vectors to search in, and held-out queries of the same kind."""

    name: str
    vectors: np.ndarray
    queries: np.ndarray


def arxiv_sentences(rows: int, queries: int = 1_000) -> Dataset:
    """Sentences of arXiv abstracts; the queries are sentences of 500 papers that are not indexed.

    Embedded by the packaged MiniLM (384 dims, not trained nested). About 200 sentences a second on
    two cores, resumable.
    """
    name = f"arxiv-sentences-{rows}"
    paths = [HERE / "data" / f"{name}.{part}.npy" for part in ("corpus", "queries")]
    if not all(path.exists() for path in paths):
        paths[0].parent.mkdir(exist_ok=True)
        encoder = open_encoder("minilm")
        for path, texts in zip(paths, _arxiv_texts(rows, queries), strict=True):
            if not path.exists():
                encode_to_file(encoder, texts, path, progress=bar)
    return Dataset(name, *(np.load(path, mmap_mode="r") for path in paths))


def _arxiv_texts(rows: int, queries: int) -> tuple[list[str], list[str]]:
    csv.field_size_limit(1 << 30)
    with gzip.open(ARXIV, "rt", encoding="utf-8") as file:
        papers = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    corpus = list(dict.fromkeys(_sentences(papers[:-_HELD_OUT_PAPERS])))
    seen = set(corpus)
    unseen = [s for s in dict.fromkeys(_sentences(papers[-_HELD_OUT_PAPERS:])) if s not in seen]
    rng = np.random.default_rng(0)
    return _pick(corpus, rows, rng), _pick(unseen, queries, rng)


def _sentences(papers: list[dict[str, str]]) -> Iterator[str]:
    for paper in papers:
        for sentence in _SENTENCE_END.split(paper["abstract"]):
            if len(sentence.strip()) >= 30:
                yield sentence.strip()


def _pick(texts: list[str], count: int, rng: np.random.Generator) -> list[str]:
    return [texts[i] for i in rng.permutation(len(texts))[:count]]
