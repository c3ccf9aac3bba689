"""Plans tuned for guarantees at .95 and .99, on real data.

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
        plans = [*titles(options.data, Path(folder)), *abstracts(options.data, Path(folder))]
    RESULT.write_text(
        json.dumps({"k": K, "confidence": CONFIDENCE, "plans": plans}, indent=1) + "\n"
    )


def titles(data: Path, folder: Path) -> Iterator[dict[str, object]]:
    """Tune for recall against exact search."""
    embeddings = embedded("arxiv-titles", texts.arxiv_titles, data)
    index = nv.Index.build(embeddings.vectors, folder / "titles.nv", progress=bar)
    for measure in ("recall", "perfect_recall", "shortlist_recall"):
        yield from tuned(index, embeddings.queries, "arXiv titles", measure)


def abstracts(data: Path, folder: Path) -> Iterator[dict[str, object]]:
    """Tune for relevance judgments: the relevant document of a title is its abstract."""
    retrieval = corpus.load()
    demo_texts = Texts(list(retrieval.corpus.texts), list(retrieval.queries.texts))
    embeddings = embedded("arxiv-demo", lambda: demo_texts, data)
    index = nv.Index.build(
        embeddings.vectors, folder / "demo.nv", ids=retrieval.corpus.ids, progress=bar
    )
    judgments = {"qrels": retrieval.qrels, "query_ids": retrieval.queries.ids}
    yield from tuned(index, embeddings.queries, "arXiv abstracts", "ndcg", judgments)


def tuned(
    index: nv.Index,
    queries: np.ndarray,
    data: str,
    measure: str,
    judgments: Mapping[str, object] | None = None,
) -> Iterator[dict[str, object]]:
    """Tune for each target; also measure the bytes that the default plan reads."""
    default_bytes = index.search(queries, K).stats.size_bytes / len(queries)
    for target in TARGETS:
        guarantee = {measure: target, "confidence": CONFIDENCE, "k": K}
        result = nv.tune(index, queries, **guarantee, **(judgments or {}), progress=bar)
        print(result)
        yield {
            "data": data, "rows_searched": len(index), "dim": index.dim,
            "default_bytes": default_bytes, "bytes": bytes_per_query(result), **result.to_json(),
        }  # fmt: skip


def bytes_per_query(result: TunedPlan) -> float | None:
    """Look up the bytes that the plan with the guarantee reads per query."""
    by_plan = {test.plan: test.bytes_per_query for test in result.plan_tests}
    return None if result.plan is None else by_plan[result.plan]


if __name__ == "__main__":
    main()
