"""The demo: embed a retrieval set, index it, and compare search methods on it."""

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
from nestvec.demo.measure import K, MethodResult, SearchMethod, compare, engine, float_scan
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


def run_demo(
    folder: str | Path, *, limit: int | None = None, rounds: int = 5, progress: Progress = silent
) -> DemoReport:
    """Embed the shipped corpus, index it in `folder`, measure, and draw `folder`/quality.png.

    `limit` selects the first documents and the queries with a relevant one among them. Vectors are
    stored in `folder`, so that a second run, or one after an interruption, need not embed them
    again. `MissingExtraError`, before any work, where the extra `demo` is not installed.
    """
    for module in ("matplotlib", "threadpoolctl", "sentence_transformers"):
        require(module, "demo")
    data = _first_documents(load(), limit)
    folder = _make_folder(Path(folder))
    embedded = _embed(folder, data, progress)
    index = _build(folder / "arxiv.nv", embedded, data.corpus, progress)
    methods = _search_methods(index, embedded.documents)
    single_cell = engine("one cell", "codes", index, f"probe=1; {CODES[0]}:{K}")
    *measured, shortest = compare([*methods, single_cell], embedded.queries, rounds, progress)
    results = _score_results(methods, measured, data)
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
    with_relevant = [
        i for i, query in enumerate(data.queries.ids) if selected & data.qrels[query].keys()
    ]
    if not with_relevant:
        raise InputError(
            f"limit={limit} leaves no relevant document of any query; use a larger one"
        )
    queries = _select(data.queries, with_relevant)
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


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError(
            f"cannot write to {folder} ({e.strerror}); use a folder that you can write to"
        ) from None
    return folder


@dataclass(frozen=True, slots=True, eq=False)
class _Embedded:
    documents: Float32[np.ndarray, "n dim"]
    queries: Float32[np.ndarray, "q dim"]
    model: Mapping[str, Any]


def _embed(folder: Path, data: RetrievalSet, progress: Progress) -> _Embedded:
    """Load the vectors from `folder`, or embed the texts where it has none."""
    vector_folder = folder / f"vectors-{_fingerprint((*data.corpus.texts, *data.queries.texts))}"
    texts = {"documents.npy": data.corpus.texts, "queries.npy": data.queries.texts}
    record = vector_folder / "model.json"  # written last: all vectors are there when it is
    if not record.exists():
        encoder = open_encoder(MODEL)
        for name, items in texts.items():
            if not (vector_folder / name).exists():
                encode_to_file(
                    encoder, items, vector_folder / name, chunk_rows=256, progress=progress
                )
        record.write_text(json.dumps(asdict(encoder.info)), encoding="utf-8")
    documents, queries = (np.array(read_vectors(vector_folder / name).vectors) for name in texts)
    return _Embedded(documents, queries, json.loads(record.read_text(encoding="utf-8")))


def _fingerprint(texts: Iterable[str]) -> str:
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


def _search_methods(index: Index, documents: Float32[np.ndarray, "n dim"]) -> list[SearchMethod]:
    """List the search methods: the float scan first, then those that read less."""
    return [
        float_scan("float32, all dims", "float scan", documents),
        *(float_scan(f"float32, {d} dims", "float prefix", documents, d) for d in PREFIXES),
        *(engine(c, "codes", index, f"probe=all; {c}:{K}") for c in CODES),
        *(engine(f, "codes, then full", index, f"probe=all; {f}") for f in FUNNELS),
        engine("default plan", "default plan", index, str(index.default_plan(K))),
    ]


def _score_results(
    methods: Sequence[SearchMethod], measured: Sequence[MethodResult], data: RetrievalSet
) -> tuple[Result, ...]:
    ids = np.array(data.corpus.ids, dtype=object)
    exact = measured[0].rows
    return tuple(
        Result(
            name=method.name,
            kind=method.kind,
            ndcg=float(ndcg_at_k(ids[result.rows], data.queries.ids, data.qrels, K).mean()),
            recall=float(recall_at_k(result.rows, exact, K).mean()),
            scan_bytes=result.scan_bytes,
            read_bytes=result.read_bytes,
            time_us=result.median_us,
        )
        for method, result in zip(methods, measured, strict=True)
    )
