"""Plans tuned for promises at .95 and .99, on real data.

    python -m benchmarks.tuned [--data FOLDER]

Titles of arXiv papers with 1,000 held-out titles as queries; and, for relevance, the corpus that
ships with nestvec: abstracts, with 400 titles as queries and one relevant abstract each. Both were
embedded by the packaged MiniLM, and are if they are not in the folder. Cost is bytes read, so no
quiet machine is needed. Writes `results/tuned.json`.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

import nestvec as nv
from benchmarks.search import texts
from benchmarks.search.catalog import embedded
from benchmarks.search.texts import Texts
from nestvec.demo import corpus
from nestvec.progress import bar
from nestvec.tuning.tuned import TunedPlan

HERE = Path(__file__).parent
RESULT = HERE / "results" / "tuned.json"
K = 10
TARGETS = (0.95, 0.99)
CONFIDENCE = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE / "data", help="folder of vectors")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = [*titles(options.data, Path(folder)), *abstracts(options.data, Path(folder))]
    RESULT.write_text(
        json.dumps({"k": K, "confidence": CONFIDENCE, "plans": told}, indent=1) + "\n"
    )


def titles(data: Path, folder: Path) -> Iterator[dict[str, object]]:
    """Promises about exact search's answers."""
    made = embedded("arxiv-titles", texts.arxiv_titles, data)
    index = nv.Index.build(made.vectors, folder / "titles.nv", progress=bar)
    for loss in ("recall", "perfect_recall", "shortlist_recall"):
        yield from tuned(index, made.queries, "arXiv titles", loss)


def abstracts(data: Path, folder: Path) -> Iterator[dict[str, object]]:
    """Promises about what people want: each title's own abstract."""
    asked = corpus.load()
    both = Texts(list(asked.corpus.texts), list(asked.queries.texts))
    made = embedded("arxiv-demo", lambda: both, data)
    index = nv.Index.build(made.vectors, folder / "demo.nv", ids=asked.corpus.ids, progress=bar)
    judged = {"qrels": asked.qrels, "query_ids": asked.queries.ids}
    yield from tuned(index, made.queries, "arXiv abstracts", "ndcg", judged)


def tuned(
    index: nv.Index,
    queries: np.ndarray,
    data: str,
    loss: str,
    judged: Mapping[str, object] | None = None,
) -> Iterator[dict[str, object]]:
    """What is found for each target, and what the default plan reads."""
    rule = index.search(queries, K).stats.size_bytes / len(queries)
    for target in TARGETS:
        guarantee = {loss: target, "confidence": CONFIDENCE, "k": K}
        found = nv.tune(index, queries, **guarantee, **(judged or {}), progress=bar)
        print(found)
        yield {
            "data": data, "rows_searched": len(index), "dim": index.dim, "rule_bytes": rule,
            "bytes": cost(found), **found.to_json(),
        }  # fmt: skip


def cost(found: TunedPlan) -> float | None:
    """Bytes that the certified plan reads for a query."""
    read = {trial.plan: trial.bytes_per_query for trial in found.plan_tests}
    return None if found.plan is None else read[found.plan]


if __name__ == "__main__":
    main()
