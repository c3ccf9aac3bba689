"""The demo: real texts, real questions, and what reading less of each vector saves and costs."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.data import Corpus, RetrievalSet
from nestvec.demo.chart import draw
from nestvec.demo.corpus import load
from nestvec.demo.measure import K, Trial, Way, compare, engine, float_scan
from nestvec.demo.report import DemoReport, Result
from nestvec.encode import encode_to_file, open_encoder, read_vectors
from nestvec.errors import InputError, StorageError
from nestvec.extras import require
from nestvec.index import Index
from nestvec.metrics import ndcg_at_k, recall_at_k
from nestvec.progress import Progress, silent
from nestvec.shapes import Float32

MODEL = "minilm"
PREFIXES = (64, 128, 256)
CODES = ("64x1", "128x1", "256x1", "384x1", "384x2")
FUNNELS = ("64x1:100 > full", "128x1:50 > full", "256x1:50 > full", "384x1:30 > full")


def run(
    folder: str | Path, *, limit: int | None = None, rounds: int = 5, progress: Progress = silent
) -> DemoReport:
    """Embed the shipped corpus, index it in `folder`, measure, and draw `folder`/quality.png.

    `limit` takes the first so many documents and the queries that they answer. Vectors are kept in
    `folder`, so that a second run, or one that was interrupted, need not embed them again. Raises
    `MissingExtraError` before any work is done.
    """
    for module in ("matplotlib", "threadpoolctl", "sentence_transformers"):
        require(module, "demo")
    data = _first_documents(load(), limit)
    folder = _make(Path(folder))
    embedded = _embed(folder, data, progress)
    index = _build(folder / "arxiv.nv", embedded, data.corpus, progress)
    ways = _ways(index, embedded.documents)
    call = engine("one cell", "codes", index, f"probe=1; {CODES[0]}:{K}")
    *trials, shortest = compare([*ways, call], embedded.queries, rounds, progress)
    results = _judge(ways, trials, data)
    chart = folder / "quality.png"
    draw(results, len(index), chart)
    return DemoReport(
        rows=len(index),
        queries=len(embedded.queries),
        dim=index.dim,
        model=str(embedded.model["revision"]),
        rounds=rounds,
        default_plan=str(index.default_plan(K)),
        hot_bytes=index.hot_bytes,
        call_us=shortest.median_us,
        results=results,
        index=index.path,
        chart=chart,
    )


def _first_documents(data: RetrievalSet, limit: int | None) -> RetrievalSet:
    if limit is None:
        return data
    if limit < K:
        raise InputError(f"limit={limit} is too few to rank; use at least {K}")
    corpus = _select(data.corpus, range(min(limit, len(data.corpus))))
    selected = set(corpus.ids)
    answered = [
        i for i, query in enumerate(data.queries.ids) if selected & data.qrels[query].keys()
    ]
    if not answered:
        raise InputError(f"limit={limit} leaves no document that answers a query; use a larger one")
    queries = _select(data.queries, answered)
    qrels = {
        query: {doc: grade for doc, grade in data.qrels[query].items() if doc in selected}
        for query in queries.ids
    }
    return RetrievalSet(corpus, queries, qrels)


def _select(corpus: Corpus, rows: Sequence[int]) -> Corpus:
    return Corpus(
        tuple(corpus.ids[row] for row in rows),
        tuple(corpus.texts[row] for row in rows),
        tuple(corpus.metadata[row] for row in rows),
    )


def _make(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError(
            f"cannot write to {folder} ({e.strerror}); choose a folder you may write to"
        ) from None
    return folder


@dataclass(frozen=True, slots=True, eq=False)
class _Embedded:
    documents: Float32[np.ndarray, "n dim"]
    queries: Float32[np.ndarray, "q dim"]
    model: Mapping[str, Any]


def _embed(folder: Path, data: RetrievalSet, progress: Progress) -> _Embedded:
    """The vectors, from `folder` if they are there: then no model needs to be loaded."""
    place = folder / f"vectors-{_digest((*data.corpus.texts, *data.queries.texts))}"
    texts = {"documents.npy": data.corpus.texts, "queries.npy": data.queries.texts}
    record = place / "model.json"  # written last: all vectors are there when it is
    if not record.exists():
        encoder = open_encoder(MODEL)
        for name, items in texts.items():
            if not (place / name).exists():
                encode_to_file(encoder, items, place / name, chunk_rows=256, progress=progress)
        record.write_text(json.dumps(asdict(encoder.info)), encoding="utf-8")
    documents, queries = (np.array(read_vectors(place / name).vectors) for name in texts)
    return _Embedded(documents, queries, json.loads(record.read_text(encoding="utf-8")))


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _build(path: Path, embedded: _Embedded, corpus: Corpus, progress: Progress) -> Index:
    return Index.build(
        embedded.documents,
        path,
        ids=corpus.ids,
        texts=corpus.texts,
        metadata=corpus.metadata,
        model=embedded.model,
        overwrite=True,
        progress=progress,
    )


def _ways(index: Index, documents: Float32[np.ndarray, "n dim"]) -> list[Way]:
    """The float scan first, then what reads less."""
    return [
        float_scan("float32, all dims", "float scan", documents),
        *(float_scan(f"float32, {d} dims", "float prefix", documents, d) for d in PREFIXES),
        *(engine(c, "codes", index, f"probe=all; {c}:{K}") for c in CODES),
        *(engine(f, "codes, then full", index, f"probe=all; {f}") for f in FUNNELS),
        engine("default plan", "default plan", index, str(index.default_plan(K))),
    ]


def _judge(ways: Sequence[Way], trials: Sequence[Trial], data: RetrievalSet) -> tuple[Result, ...]:
    ids = np.array(data.corpus.ids, dtype=object)
    exact = trials[0].rows
    return tuple(
        Result(
            name=way.name,
            kind=way.kind,
            ndcg=float(ndcg_at_k(ids[trial.rows], data.queries.ids, data.qrels, K).mean()),
            recall=float(recall_at_k(trial.rows, exact, K).mean()),
            scan_bytes=trial.scan_bytes,
            read_bytes=trial.read_bytes,
            time_us=trial.median_us,
        )
        for way, trial in zip(ways, trials, strict=True)
    )
