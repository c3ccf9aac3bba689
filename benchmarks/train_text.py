"""MiniLM tuned on arXiv titles and abstracts: all sizes nested, against full width alone.

    python -m benchmarks.train_text [--data ../shared/data] [--steps 300] [--only FORM ...]

Trains on pairs (title, abstract cut at so many tokens) of papers that are in no way part of the
test: titles, each to find its abstract among documents. "untuned" is the model before; "rotated"
begins with rows turned to their principal directions; "mined" also gets a hard negative for each
title, mined at the prefix of 64 at the start. Every form is measured at every size from one
encoding, beside random dimensions and principal components of its own vectors. Queries are
bootstrapped; one seed. Writes `results/train_text.json` and `.png`.
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
FORMS = ("untuned", "full width alone", "nested", "nested, rotated", "nested, rotated, mined")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared/data")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=80_000, help="Train on so many, at most.")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--only", nargs="*", choices=FORMS, default=FORMS)
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
        "full width alone": replace(nested, dims=(max(DIMS),), measured=DIMS),
        "nested": nested,
        "nested, rotated": replace(nested, rotated=True),
        "nested, rotated, mined": replace(nested, rotated=True, mining=Mining(dims=64)),
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
            start, model, trained = time.perf_counter(), "minilm", configs[name] is not None
            if trained:
                model = str(train_text(data, configs[name], Path(folder) / name, told).model)
            trained_s = time.perf_counter() - start
            sizes = measure(model, test, options.queries, options.documents, options.tokens)
            result.setdefault("forms", {})[name] = {
                "pairs": len(data[0]) if trained else 0, "loop": asdict(loop) if trained else None,
                "train_s": round(trained_s), "sizes": sizes,
            }  # fmt: skip
            RESULT.write_text(json.dumps(result, indent=1) + "\n")
            for size in sizes:
                scores = {form: round(e["value"], 4) for form, e in size["ndcg"].items()}
                print(name, size["dims"], scores, flush=True)
    draw(result["forms"], RESULT.with_suffix(".png"))


def told(moment: Any) -> None:
    if moment.evaluation:
        print(moment, flush=True)


def pairs(path: Path, tested: set[Any], most: int) -> tuple[Pairs, Pairs]:
    """Titles and abstracts of papers that are not tested on, drawn; 100 choose the evaluation."""
    titles, abstracts = (read_texts(path, column) for column in ("title", "abstract"))
    kept = [row for row, paper in enumerate(titles.ids) if paper not in tested]
    kept = np.random.default_rng(0).permutation(kept)[: most + 100].tolist()
    left, right = ([side.texts[row] for row in kept] for side in (titles, abstracts))
    return Pairs.of_texts(left, right).split(100, 0)


def measure(
    model: str, test: Any, asked_of: int, documents: int, tokens: int
) -> list[dict[str, Any]]:
    """nDCG@10 at every size, of the first queries; their documents come first, and then others."""
    queries = test.queries.ids[:asked_of]
    wanted = dict.fromkeys(doc for query in queries for doc in test.qrels[query])
    ids = [*wanted, *(doc for doc in test.corpus.ids if doc not in wanted)][:documents]
    texts = dict(zip(test.corpus.ids, test.corpus.texts, strict=True))
    asked = dict(zip(test.queries.ids, test.queries.texts, strict=True))
    encoder = open_encoder(model)
    encoder._model.max_seq_length = tokens  # as all forms were tuned
    rows = [encoder.encode([t[i] for i in names]) for t, names in ((asked, queries), (texts, ids))]
    qrels = {q: test.qrels[q] for q in queries}
    scores = evaluate_prefixes(
        *rows, qrels, DIMS, query_ids=queries, document_ids=np.array(ids, dtype=object)
    )
    return [
        {
            "dims": size.dims,
            "ndcg": {form: estimate._asdict() for form, estimate in size.ndcg.items()},
            "retention": {form: estimate._asdict() for form, estimate in size.retention.items()},
        }
        for size in scores
    ]


def draw(forms: dict[str, Any], path: Path) -> None:
    """nDCG@10 over size of every form, and of the principal components of plain tuning."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    plain = "full width alone"
    lines = {name: (name, "prefix") for name in forms}
    if plain in forms:
        lines[f"{plain}, its PCA"] = (plain, "pca")
    for label, (name, form) in lines.items():
        found = [size["ndcg"][form] for size in forms[name]["sizes"]]
        axes.plot(DIMS, [one["value"] for one in found], marker="o", label=label)
        axes.fill_between(
            DIMS, *([one[end] for one in found] for end in ("low", "high")), alpha=0.1
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
