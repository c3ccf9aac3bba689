"""MiniLM fine-tuned on arXiv titles and abstracts: all dims nested, against full width alone.

    python -m benchmarks.train_text [--data ../shared/data] [--steps 300] [--only MODEL ...]

Trains on pairs (title, abstract truncated to so many tokens) of papers that are in no way part of
the test, in which each title searches its abstract among documents. "untuned" is the model before;
"rotated" begins with a PCA rotation; "mined" also gets a hard negative for each title, mined at the
prefix of 64 at the start. Every model is measured at all dims from one encoding, beside random
dimensions and principal components of its own vectors. Queries are bootstrapped; one seed. Writes
`results/train_text.json` and `.png`.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.search.run import machine
from nestvec.data import read_retrieval_set, read_texts
from nestvec.encode import open_encoder
from nestvec.train import Loop, TextConfig, train_text
from nestvec.train.data.pairs import Pairs
from nestvec.train.evaluation.prefixes import evaluate_prefixes
from nestvec.train.models.towers import Pretrained
from nestvec.train.recipes.contrastive import Mining

HERE = Path(__file__).parent
RESULT = HERE / "results" / "train_text.json"
DIMS = (32, 64, 128, 256, 384)
MODELS = ("untuned", "full width alone", "nested", "nested, rotated", "nested, rotated, mined")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared/data")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=80_000, help="Train on at most so many.")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--only", nargs="*", choices=MODELS, default=MODELS)
    options = parser.parse_args()
    test = read_retrieval_set(options.data / "retrieval/arxiv-title-abstract")
    data = pairs(options.data / "texts/arxiv-100k.tsv.gz", set(test.corpus.ids), options.pairs)
    loop = Loop(
        steps=options.steps, batch_size=options.batch, learning_rate=options.rate,
        precision="bfloat16", evaluate_every=max(1, options.steps // 2),
    )  # fmt: skip
    nested = TextConfig(dims=DIMS, model=Pretrained(max_tokens=options.tokens), loop=loop)
    configs = {
        "untuned": None,
        "full width alone": replace(nested, dims=(max(DIMS),), eval_dims=DIMS),
        "nested": nested,
        "nested, rotated": replace(nested, init_pca=True),
        "nested, rotated, mined": replace(nested, init_pca=True, mining=Mining(dims=64)),
    }
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    result |= {
        "data": "arXiv titles to abstracts",
        "documents": options.documents,
        "queries": options.queries,
        "tokens": options.tokens,
        "threads": torch.get_num_threads(),
        "machine": machine(()),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            start, model, trains = time.perf_counter(), "minilm", configs[name] is not None
            if trains:
                model = str(train_text(data, configs[name], Path(folder) / name, report).model)
            duration_s = time.perf_counter() - start
            prefixes = measure(model, test, options.queries, options.documents, options.tokens)
            result.setdefault("forms", {})[name] = {
                "pairs": len(data[0]) if trains else 0, "loop": asdict(loop) if trains else None,
                "train_s": round(duration_s), "sizes": prefixes,
            }  # fmt: skip
            RESULT.write_text(json.dumps(result, indent=1) + "\n")
            for prefix in prefixes:
                scores = {kind: round(e["value"], 4) for kind, e in prefix["ndcg"].items()}
                print(name, prefix["dims"], scores, flush=True)
    draw(result["forms"], RESULT.with_suffix(".png"))


def report(event: Any) -> None:
    if event.evaluation:
        print(event, flush=True)


def pairs(path: Path, test_ids: set[Any], limit: int) -> tuple[Pairs, Pairs]:
    """Sample titles and abstracts of papers outside the test; 100 choose the best evaluation."""
    titles, abstracts = (read_texts(path, column) for column in ("title", "abstract"))
    rows = [row for row, paper in enumerate(titles.ids) if paper not in test_ids]
    rows = np.random.default_rng(0).permutation(rows)[: limit + 100].tolist()
    queries, documents = ([column.texts[row] for row in rows] for column in (titles, abstracts))
    return Pairs.from_texts(queries, documents).split(100, 0)


def measure(
    model: str, test: Any, n_queries: int, n_documents: int, tokens: int
) -> list[dict[str, Any]]:
    """Measure nDCG@10 at all dims, of the first queries; their documents come before others."""
    query_ids = test.queries.ids[:n_queries]
    relevant = dict.fromkeys(doc for query in query_ids for doc in test.qrels[query])
    ids = [*relevant, *(doc for doc in test.corpus.ids if doc not in relevant)][:n_documents]
    texts = dict(zip(test.corpus.ids, test.corpus.texts, strict=True))
    queries = dict(zip(test.queries.ids, test.queries.texts, strict=True))
    encoder = open_encoder(model)
    encoder._model.max_seq_length = tokens  # as all models were tuned
    inputs = ((queries, query_ids), (texts, ids))
    embeddings = [encoder.encode([of[i] for i in names]) for of, names in inputs]
    qrels = {q: test.qrels[q] for q in query_ids}
    scores = evaluate_prefixes(
        *embeddings, qrels, DIMS, query_ids=query_ids, document_ids=np.array(ids, dtype=object)
    )
    return [
        {
            "dims": prefix.dims,
            "ndcg": recorded(prefix.ndcg),
            "retention": recorded(prefix.retention),
        }
        for prefix in scores
    ]


def recorded(estimates: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Name estimates as the result file does, which has "random" for random dims."""
    names = {"random_dims": "random"}
    return {names.get(kind, kind): estimate._asdict() for kind, estimate in estimates.items()}


def draw(models: dict[str, Any], path: Path) -> None:
    """Draw nDCG@10 over dims of every model, and of the principal components of plain tuning."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    plain = "full width alone"
    lines = {name: (name, "prefix") for name in models}
    if plain in models:
        lines[f"{plain}, its PCA"] = (plain, "pca")
    for label, (name, kind) in lines.items():
        estimates = [prefix["ndcg"][kind] for prefix in models[name]["sizes"]]
        axes.plot(DIMS, [estimate["value"] for estimate in estimates], marker="o", label=label)
        axes.fill_between(
            DIMS, *([estimate[end] for estimate in estimates] for end in ("low", "high")), alpha=0.1
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(DIMS, DIMS)
    axes.set_xlabel("dimensions")
    axes.set_ylabel("nDCG@10, 95 % intervals")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
