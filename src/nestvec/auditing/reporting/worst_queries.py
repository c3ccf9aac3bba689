"""The queries that lose most, with what was answered before and after."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.auditing.baseline import Exact
from nestvec.auditing.evaluated import Made
from nestvec.auditing.task import Task
from nestvec.auditing.types import K
from nestvec.shapes import Float64, Int64

if TYPE_CHECKING:
    from nestvec.auditing.evaluation import Measured

SHOWN = 20
_QUOTED = 3
"""So many answers of each ranking have their texts beside them."""
_LONGEST = 160
"""Characters of a text that are kept."""


def most_lost(
    before: Float64[np.ndarray, " q"], after: Float64[np.ndarray, " q"]
) -> Int64[np.ndarray, " worst"]:
    """Up to 20 queries that lose, the largest loss first; equal ones in the order of queries."""
    losses = before - after
    order = np.argsort(-losses, kind="stable")[:SHOWN]
    return np.asarray(order[losses[order] > 0])


def worst_queries(exact: Exact, made: Made) -> list[dict[str, Any]]:
    """The queries of `most_lost`, each with its id, and its text if that is known.

    Also what it scored before and after, both rankings, and the documents judged relevant to it,
    best first (none without judgements).
    """
    task, kept = exact.task, made.kept
    found = []
    for place in most_lost(kept.before, kept.after).tolist():
        row = int(task.asked[place])
        text = {} if task.extras.texts.queries is None else {"text": task.extras.texts.queries[row]}
        found.append(
            {
                "query": task.query_ids[row], **text,
                "before": float(kept.before[place]), "after": float(kept.after[place]),
                "full": [task.ids[answer] for answer in exact.ranking.rows[row, :K]],
                "variant": [task.ids[answer] for answer in made.ranking.rows[row, :K]],
                "relevant": [task.ids[answer] for answer in _relevant(task, row)],
            }
        )  # fmt: skip
    return found


def texts_of(task: Task, measured: Sequence["Measured"]) -> dict[str, str]:
    """The beginnings of the documents among the first three anywhere in the worst queries, by id.

    Of what is relevant, the best. Empty where texts are not known.
    """
    texts = task.extras.texts.documents
    if texts is None:
        return {}
    shown = {
        id_
        for one in measured
        for query in one.worst
        for id_ in (*query["full"][:_QUOTED], *query["variant"][:_QUOTED], *query["relevant"][:1])
    }
    return {str(id_): _beginning(texts[row]) for row, id_ in enumerate(task.ids) if id_ in shown}


def _relevant(task: Task, row: int) -> list[int]:
    if task.judged is None:
        return []
    of_query = np.flatnonzero(task.judged.queries == row)
    order = of_query[np.argsort(-task.judged.grades[of_query], kind="stable")]
    return [int(document) for document in task.judged.documents[order[:K]]]


def _beginning(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1].rstrip()}…"
