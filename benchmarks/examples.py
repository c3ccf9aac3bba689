"""Audits of real data, kept as examples in `docs/reference/examples/`.

    python -m benchmarks.examples [--data FOLDER] [NAME ...]

Texts are embedded by the packaged MiniLM (384 dims, not trained nested), unless their vectors are
in the folder of data already. Each report becomes `docs/reference/examples/<name>.json`, one of
them a page as well; `docs/reference/examples/README.md` says in a table what all of them found.
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
from nestvec.auditing import Texts as Edited
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
RESCORED = 100
WORDS_ASKED = 1_000
PAIRS_ASKED = 600
TOLD = (
    ("128 dims, 32 bits", "128 dims"), ("128 dims, 32 bits, pca", "128 by PCA"),
    ("64 dims, 32 bits", "64 dims"), ("64 dims, 32 bits, pca", "64 by PCA"),
    ("32 dims, 32 bits", "32 dims"), ("384 dims, 1 bit", "384 × 1 bit"),
    (f"384 dims, 1 bit, rescored {RESCORED}", f"and {RESCORED} rescored"),
)  # fmt: skip
MEASURES = ("ndcg@10_retention", "overlap_with_ties@10")


@dataclass(frozen=True)
class Example:
    """What is audited: vectors, and what is known of them."""

    about: str
    documents: np.ndarray
    queries: np.ndarray
    known: Mapping[str, Any]
    """Arguments of `nestvec.audit`."""


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
    """Audit one set and keep what was found."""
    variants = grid(example.documents.shape[1], len(example.documents))
    report = nv.audit(
        example.documents, example.queries, variants=variants, progress=bar, **example.known
    ).signed(f"python -m benchmarks.examples {name}", datetime.now(timezone.utc))
    content = {"about": example.about, **report.to_json()}
    path = EXAMPLES / f"{name}.json"
    path.write_text(json.dumps(_short(content), ensure_ascii=False, allow_nan=False) + "\n")
    if name == AS_PAGE:
        save_html(content, path.with_suffix(".html"))


def grid(width: int, rows: int) -> list[dict[str, Any]]:
    """Prefixes, principal directions as controls, and codes of one bit."""
    rescored = {"rescore": RESCORED} if rows > 10 * RESCORED else None
    pca = {"rotation": "pca", "control": "as many bytes by PCA"}
    return [
        *({"dims": dims} for dims in SIZES if dims <= width),
        *({"dims": dims, **pca} for dims in CONTROLS),
        *({"dims": dims, "bits": 1} for dims in (width, width // 2)),
        *({"dims": dims, "bits": 1, **rescored} for dims in (width, width // 2) if rescored),
    ]


def retrieval(name: str, about: str, edited: bool = False) -> Callable[[Path], Example]:
    """A judged set; `edited`: its texts are at hand to be mistyped and made wrong."""

    def make(data: Path) -> Example:
        asked = read_retrieval_set(SHARED / "retrieval" / name)
        texts = Texts(list(asked.corpus.texts), list(asked.queries.texts))
        made = embedded(name, lambda: texts, data)
        encoder = open_encoder("minilm") if edited else None
        known = {
            "qrels": asked.qrels, "ids": asked.corpus.ids, "query_ids": asked.queries.ids,
            "texts": Edited(texts.corpus, texts.queries, encoder),
        }  # fmt: skip
        return Example(about, made.vectors, made.queries, known)

    return make


def words(data: Path) -> Example:
    """Vectors of words, some of which are asked for the nearest of the others."""
    vectors = np.load(SHARED / "vectors/word2vec-8k.npy").astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.random.default_rng(0).permutation(len(vectors))
    documents, queries = vectors[np.sort(order[WORDS_ASKED:])], vectors[order[:WORDS_ASKED]]
    about = "word2vec, 300 dims: the nearest words of 1,000 held-out ones"
    return Example(about, documents, queries, {})


def contrasts(
    name: str, about: str, read: Callable[[], Iterator[tuple[str, str, list[tuple[str, str]]]]]
) -> Callable[[Path], Example]:
    """Queries, an answer to each, and texts by kind that only look like one."""

    def make(data: Path) -> Example:
        rows: dict[str, int] = {}
        queries, qrels, hard = [], {}, []
        for query, answer, near_misses in read():
            right = rows.setdefault(answer, len(rows))
            qrels[len(queries)] = {right: 1}
            for text, kind in near_misses:
                hard.append((len(queries), right, rows.setdefault(text, len(rows)), kind))
            queries.append(query)
        made = embedded(name, lambda: Texts(list(rows), queries), data)
        known = {"qrels": qrels, "hard_negatives": hard, "texts": Edited(list(rows), queries)}
        return Example(about, made.vectors, made.queries, known)

    return make


def counterfactual_pairs() -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """A premise, the hypothesis that it entails, and that one edited until it no longer is."""
    found: dict[str, dict[str, str]] = {}
    for pair in table("counterfactual-nli"):
        if pair["kind"] != "revised_premise":
            found.setdefault(pair["premise"], {}).setdefault(pair["label"], pair["hypothesis"])
    told = [one for one in found.items() if "entailment" in one[1] and len(one[1]) > 1]
    for premise, by_label in told[:PAIRS_ASKED]:
        entailed = by_label.pop("entailment")
        yield premise, entailed, [(text, label) for label, text in by_label.items()]


def antonym_pairs() -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """The definition of a word, the word, and its antonym."""
    told = [pair for pair in table("wordnet-antonyms") if pair["word1"] != pair["word2"]]
    for pair in told[:PAIRS_ASKED]:
        yield pair["definition1"], pair["word1"], [(pair["word2"], "antonym")]


def table(name: str) -> list[dict[str, str]]:
    with gzip.open(SHARED / f"pairs/{name}.tsv.gz", "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


MAKERS: dict[str, Callable[[Path], Example]] = {
    "scifact": retrieval("scifact", "SciFact: claims → abstracts of papers", edited=True),
    "cranfield": retrieval("cranfield", "Cranfield: questions → aeronautical papers", edited=True),
    "arxiv-title-abstract": retrieval("arxiv-title-abstract", "arXiv: titles → their abstracts"),
    "word2vec-8k": words,
    "counterfactual-nli": contrasts(
        "counterfactual-nli",
        "premises → what they entail, not what was edited until they do not",
        counterfactual_pairs,
    ),
    "wordnet-antonyms": contrasts(
        "wordnet-antonyms", "definitions → the word, not its antonym", antonym_pairs
    ),
    "limit-small": retrieval("limit-small", "LIMIT: made to break vectors of few dimensions"),
}


def readme() -> str:
    """What was found, by the reports that there are."""
    made = [name for name in MAKERS if (EXAMPLES / f"{name}.json").exists()]
    reports = [json.loads((EXAMPLES / f"{name}.json").read_text()) for name in made]
    head = ["set", "documents", "queries", "measure", *(title for _, title in TOLD), "fragility"]
    lines = [head, ["---"] * len(head)]
    for name, report in zip(made, reports, strict=True):
        inputs = report["inputs"]
        shown = {one["name"]: one for one in report["variants"]}
        measure = next(m for m in MEASURES if m in report["variants"][0]["metrics"])
        sizes = [f"{inputs[side]['n']:,}" for side in ("documents", "queries")]
        cells = [_cell(shown.get(variant), measure) for variant, _ in TOLD]
        about = f"[{name}]({name}.json): {report['about']}"
        lines.append([about, *sizes, measure, *cells, _fragility(shown)])
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{INTRODUCTION}\n{rows}\n"


INTRODUCTION = f"""# Audits of real data

Made by `python -m benchmarks.examples`: the packaged MiniLM (384 dims, not trained nested), except
word2vec. In each cell the share of the full vectors' quality that is kept, and its 95 % interval;
P is PASS, F is FAIL, ? is INSUFFICIENT DATA. *Fragility* is that of the smallest prefix: accuracy
kept on hard negatives / kept on random ones; an interval below 1 says that compression hurts near
misses more. [{AS_PAGE}.html]({AS_PAGE}.html) is a whole page.
"""


def _short(value: Any) -> Any:
    """The same with five significant digits: an example is read, not compared."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _short(part) for name, part in value.items()}
    return [_short(part) for part in value] if isinstance(value, list) else value


_LETTERS = {"PASS": "P", "FAIL": "F"}


def _cell(variant: Mapping[str, Any] | None, measure: str) -> str:
    if variant is None or measure not in variant["metrics"]:
        return "–"
    found = variant["metrics"][measure]
    letter = _LETTERS.get(variant["verdict"], "?")
    return f"{letter} {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _fragility(variants: Mapping[str, Any]) -> str:
    """Of the prefix with the fewest dimensions at full precision."""
    found = [
        (one["dims"], one["metrics"]["excess_fragility"])
        for one in variants.values()
        if "excess_fragility" in one["metrics"] and one["bits"] == 32 and one["control"] is None
    ]
    if not found:
        return "–"
    dims, estimate = min(found, key=lambda one: one[0])
    return f"{dims} dims: {estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


if __name__ == "__main__":
    main()
