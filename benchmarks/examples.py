"""Audits of real data, which are the examples in `docs/reference/examples/`.

    python -m benchmarks.examples [--data FOLDER] [NAME ...]

Texts are embedded by the packaged MiniLM (384 dims, not trained nested), unless the folder of data
has their vectors already. Each report becomes `docs/reference/examples/<name>.json`, and one of
them a page too. `docs/reference/examples/README.md` compares all of them in a table.
"""

import argparse
import csv
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

import nestvec as nv
from benchmarks.search.catalog import embedded
from benchmarks.search.texts import Texts
from nestvec.auditing import AuditTexts
from nestvec.auditing.reporting.page import save_html
from nestvec.data import read_retrieval_set
from nestvec.encode import open_encoder
from nestvec.progress import bar

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "shared/data"
EXAMPLES = HERE.parent / "docs" / "reference" / "examples"
AS_PAGE = "cranfield"
SIZES = (384, 256, 192, 128, 96, 64, 48, 32, 24)
CONTROLS = (128, 64, 32)
RERANKED = 100
WORD_QUERIES = 1_000
PAIR_QUERIES = 600
SHOWN_VARIANTS = (
    ("128 dims, 32 bits", "128 dims"), ("128 dims, 32 bits, pca", "128 by PCA"),
    ("64 dims, 32 bits", "64 dims"), ("64 dims, 32 bits, pca", "64 by PCA"),
    ("32 dims, 32 bits", "32 dims"), ("384 dims, 1 bit", "384 × 1 bit"),
    (f"384 dims, 1 bit, reranked {RERANKED}", f"and {RERANKED} reranked"),
)  # fmt: skip
METRICS = ("ndcg@10_retention", "overlap_with_ties@10")


@dataclass(frozen=True)
class Example:
    """A set to audit: its vectors, and the other arguments of the audit."""

    about: str
    documents: np.ndarray
    queries: np.ndarray
    arguments: Mapping[str, Any]
    """Further arguments of `nestvec.audit`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MAKERS)}")
    parser.add_argument("--data", type=Path, default=HERE / "data", help="folder of vectors")
    options = parser.parse_args()
    EXAMPLES.mkdir(exist_ok=True)
    for name in options.names or MAKERS:
        audit(name, MAKERS[name](options.data))
    (EXAMPLES / "README.md").write_text(readme())


def audit(name: str, example: Example) -> None:
    """Audit one set and write its report."""
    variants = grid(example.documents.shape[1], len(example.documents))
    report = nv.audit(
        example.documents, example.queries, variants=variants, progress=bar, **example.arguments
    ).with_provenance(f"python -m benchmarks.examples {name}", datetime.now(timezone.utc))
    content = {"about": example.about, **report.to_json()}
    path = EXAMPLES / f"{name}.json"
    path.write_text(json.dumps(_rounded(content), ensure_ascii=False, allow_nan=False) + "\n")
    if name == AS_PAGE:
        save_html(content, path.with_suffix(".html"))


def grid(width: int, rows: int) -> list[dict[str, Any]]:
    """List prefixes, PCA rotations as controls, and codes of one bit with and without rerank."""
    reranked = {"rerank": RERANKED} if rows > 10 * RERANKED else None
    pca = {"rotation": "pca", "control": "as many bytes by PCA"}
    return [
        *({"dims": dims} for dims in SIZES if dims <= width),
        *({"dims": dims, **pca} for dims in CONTROLS),
        *({"dims": dims, "bits": 1} for dims in (width, width // 2)),
        *({"dims": dims, "bits": 1, **reranked} for dims in (width, width // 2) if reranked),
    ]


def retrieval(name: str, about: str, with_edits: bool = False) -> Callable[[Path], Example]:
    """Make an example of a judged set; `with_edits` re-encodes typing errors and edited texts."""

    def make(data: Path) -> Example:
        retrieval_set = read_retrieval_set(SHARED / "retrieval" / name)
        documents, queries = retrieval_set.corpus, retrieval_set.queries
        texts = Texts(list(documents.texts), list(queries.texts))
        embeddings = embedded(name, lambda: texts, data)
        encoder = open_encoder("minilm") if with_edits else None
        arguments = {
            "qrels": retrieval_set.qrels, "ids": documents.ids, "query_ids": queries.ids,
            "texts": AuditTexts(texts.corpus, texts.queries, encoder),
        }  # fmt: skip
        return Example(about, embeddings.vectors, embeddings.queries, arguments)

    return make


def words(data: Path) -> Example:
    """Make an example of word vectors: 1,000 of them are queries, the others documents."""
    vectors = np.load(SHARED / "vectors/word2vec-8k.npy").astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.random.default_rng(0).permutation(len(vectors))
    documents, queries = vectors[np.sort(order[WORD_QUERIES:])], vectors[order[:WORD_QUERIES]]
    about = "word2vec, 300 dims: the nearest words of 1,000 held-out ones"
    return Example(about, documents, queries, {})


def hard_negatives(
    name: str, about: str, read: Callable[[], Iterator[tuple[str, str, list[tuple[str, str]]]]]
) -> Callable[[Path], Example]:
    """Make an example of queries with one positive each and hard negatives by kind."""

    def make(data: Path) -> Example:
        rows: dict[str, int] = {}
        queries, qrels, triplets = [], {}, []
        for query, positive, negatives in read():
            positive_row = rows.setdefault(positive, len(rows))
            qrels[len(queries)] = {positive_row: 1}
            for text, kind in negatives:
                negative_row = rows.setdefault(text, len(rows))
                triplets.append((len(queries), positive_row, negative_row, kind))
            queries.append(query)
        embeddings = embedded(name, lambda: Texts(list(rows), queries), data)
        texts = AuditTexts(list(rows), queries)
        arguments = {"qrels": qrels, "hard_negatives": triplets, "texts": texts}
        return Example(about, embeddings.vectors, embeddings.queries, arguments)

    return make


def counterfactual_pairs() -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Yield premises with a hypothesis that they entail, and edits of it that they do not."""
    hypotheses: dict[str, dict[str, str]] = {}
    for pair in read_table("counterfactual-nli"):
        if pair["kind"] != "revised_premise":
            labels = hypotheses.setdefault(pair["premise"], {})
            labels.setdefault(pair["label"], pair["hypothesis"])
    usable = [
        (premise, labels)
        for premise, labels in hypotheses.items()
        if "entailment" in labels and len(labels) > 1
    ]
    for premise, labels in usable[:PAIR_QUERIES]:
        entailed = labels.pop("entailment")
        yield premise, entailed, [(text, label) for label, text in labels.items()]


def antonym_pairs() -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Yield definitions with the word that they define, and its antonym."""
    pairs = [pair for pair in read_table("wordnet-antonyms") if pair["word1"] != pair["word2"]]
    for pair in pairs[:PAIR_QUERIES]:
        yield pair["definition1"], pair["word1"], [(pair["word2"], "antonym")]


def read_table(name: str) -> list[dict[str, str]]:
    with gzip.open(SHARED / f"pairs/{name}.tsv.gz", "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


MAKERS: dict[str, Callable[[Path], Example]] = {
    "scifact": retrieval("scifact", "SciFact: claims → abstracts of papers", with_edits=True),
    "cranfield": retrieval(
        "cranfield", "Cranfield: questions → aeronautical papers", with_edits=True
    ),
    "arxiv-title-abstract": retrieval("arxiv-title-abstract", "arXiv: titles → their abstracts"),
    "word2vec-8k": words,
    "counterfactual-nli": hard_negatives(
        "counterfactual-nli",
        "premises → what they entail, not what was edited until they do not",
        counterfactual_pairs,
    ),
    "wordnet-antonyms": hard_negatives(
        "wordnet-antonyms", "definitions → the word, not its antonym", antonym_pairs
    ),
    "limit-small": retrieval("limit-small", "LIMIT: made to break vectors of few dimensions"),
}


def readme() -> str:
    """Write the table of all reports in the folder of examples, with its introduction."""
    names = [name for name in MAKERS if (EXAMPLES / f"{name}.json").exists()]
    titles = [title for _, title in SHOWN_VARIANTS]
    head = ["set", "documents", "queries", "metric", *titles, "excess fragility"]
    lines = [head, ["---"] * len(head), *map(_table_row, names)]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{INTRODUCTION}\n{rows}\n"


def _table_row(name: str) -> list[str]:
    report = json.loads((EXAMPLES / f"{name}.json").read_text())
    variants = {variant["name"]: variant for variant in report["variants"]}
    metric = next(m for m in METRICS if m in report["variants"][0]["metrics"])
    sizes = [f"{report['inputs'][side]['n']:,}" for side in ("documents", "queries")]
    cells = [_cell(variants.get(variant), metric) for variant, _ in SHOWN_VARIANTS]
    about = f"[{name}]({name}.json): {report['about']}"
    return [about, *sizes, metric, *cells, _fragility(variants)]


INTRODUCTION = f"""# Audits of real data

`python -m benchmarks.examples` makes these reports. The vectors are those of the packaged MiniLM
(384 dims, not trained nested), except for word2vec. Each cell shows the retention, the share of the
baseline's score that a variant retains, with its 95% interval. P means PASS, F means FAIL, and ?
means INSUFFICIENT DATA. *Excess fragility* is that of the smallest prefix: the retention on hard
negatives divided by the retention on random documents. An interval below 1 says that compression
hurts hard negatives more. [{AS_PAGE}.html]({AS_PAGE}.html) shows one report as a page.
"""


def _rounded(value: Any) -> Any:
    """Round numbers to five significant digits: an example is there to be read."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value


_LETTERS = {"PASS": "P", "FAIL": "F"}


def _cell(variant: Mapping[str, Any] | None, metric: str) -> str:
    if variant is None or metric not in variant["metrics"]:
        return "–"
    letter = _LETTERS.get(variant["verdict"], "?")
    return f"{letter} {_interval(variant['metrics'][metric])}"


def _interval(estimate: Mapping[str, Any]) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def _fragility(variants: Mapping[str, Any]) -> str:
    """Write the excess fragility of the prefix with the fewest dimensions at full precision."""
    measured = [
        variant
        for variant in variants.values()
        if "excess_fragility" in variant["metrics"]
        and variant["bits"] == 32
        and variant["control"] is None
    ]
    if not measured:
        return "–"
    smallest = min(measured, key=lambda variant: variant["dims"])
    return f"{smallest['dims']} dims: {_interval(smallest['metrics']['excess_fragility'])}"


if __name__ == "__main__":
    main()
