"""`nestvec tune`: the cheapest search plan with a promise, kept in the index."""

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from nestvec.cli import options
from nestvec.cli.material import holds_vectors, refuse
from nestvec.cli.output import Columns, print_json, print_table, size
from nestvec.index import Index
from nestvec.progress import bar
from nestvec.shapes import Float

if TYPE_CHECKING:
    from nestvec.tune.promise import Promise
    from nestvec.tune.tuned import Trial

NOT_SHOWN = 1
_TRIAL_COLUMNS: Columns = {"served": "right", "p": "right", "bytes/query": "right", "plan": "left"}


class Loss(str, Enum):
    """What is promised of queries."""

    recall = "recall"
    all = "all"


def tune(
    index: options.IndexPath,
    queries: Annotated[
        Path,
        typer.Argument(
            help="Held-out queries, such as will be asked: texts (.jsonl, .tsv, .csv, .txt) or "
            "vectors (.npy, .npz, .safetensors, .parquet, .jsonl). Hundreds; for .99 a thousand."
        ),
    ],
    recall: Annotated[float, typer.Option(help="Mean recall to reach on queries to come.")] = 0.99,
    confidence: Annotated[float, typer.Option(help="How sure to be of that.")] = 0.95,
    k: Annotated[int, typer.Option("-k", help="How many hits per query.")] = 10,
    loss: Annotated[
        Loss, typer.Option(help="all: the share of queries with all k found is to reach it.")
    ] = Loss.recall,
    plan: Annotated[
        list[str] | None,
        typer.Option(metavar="PLAN", help="Test this plan; repeat for several. Else a grid."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Test on new queries what the kept plan promises.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Keep the plan in the index, as its default.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Equal input and seed give an equal plan.")] = 0,
    key: options.Key = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="In place of the model the index records.")
    ] = None,
    base_url: options.BaseUrl = None,
    json: options.Json = False,
) -> None:
    """Find the cheapest plan whose recall is promised, and make it the index's default.

    Exit code 1 where no plan is certified or, with --check, the promise is not borne out.

    Examples:
      nestvec tune corpus.nv queries.npy --recall 0.99
      nestvec tune corpus.nv questions.txt -k 100 --recall 0.95 --loss all
      nestvec tune corpus.nv new_queries.npy --check
    """
    from nestvec.tune.promise import Promise

    opened, promise = Index.open(index), Promise(k, recall, confidence, loss.value)
    if check:
        refuse("with --check, which tests the kept plan", {"--plan": plan})
    vectors = _read(opened, queries, key, model, base_url)
    if check:
        shown = _check(opened, vectors, k, seed, json)
    else:
        shown = _tune(opened, vectors, promise, plan or None, seed, keep, json)
    if not shown:
        raise typer.Exit(NOT_SHOWN)


def _read(
    index: Index, path: Path, key: str | None, model: str | None, base_url: str | None
) -> Float[np.ndarray, "q dim"]:
    """The queries of a file: its vectors, or its texts encoded."""
    if holds_vectors(path):
        from nestvec.encode import read_vectors

        refuse("for vectors, which are not encoded", {"--model": model, "--base-url": base_url})
        return read_vectors(path, key).vectors
    from nestvec.cli.model import open_for
    from nestvec.data import read_texts

    refuse("for texts; it is for vectors", {"--key": key})
    texts = read_texts(path).texts
    return open_for(index, model, base_url).encode(list(texts))


def _tune(
    index: Index,
    queries: Float[np.ndarray, "q dim"],
    promise: "Promise",
    plans: list[str] | None,
    seed: int,
    keep: bool,
    json: bool,
) -> bool:
    """Print what is found and keep a certified plan; whether there is one."""
    from nestvec.tune.tuner import run

    tuned = run(index, queries, promise, plans, seed, bar)
    kept = keep and tuned.plan is not None
    if kept:
        tuned.save(index)
    if json:
        print_json({"index": index.path, "kept": kept, **tuned.to_json()})
        return tuned.plan is not None
    print(tuned)
    print()
    print_table(_TRIAL_COLUMNS, [_trial_cells(trial) for trial in tuned.trials])
    if kept:
        print(f"\nkept: searches of {index.path} for k={promise.k} use it until rows change")
    return tuned.plan is not None


def _trial_cells(trial: "Trial") -> Sequence[str]:
    read = size(trial.bytes_per_query)
    return f"{trial.served:.4f}", f"{trial.p_value:.2g}", read, str(trial.plan)


def _check(
    index: Index, queries: Float[np.ndarray, "q dim"], k: int, seed: int, json: bool
) -> bool:
    """Print how the kept plan does on new queries; whether its promise is borne out."""
    from nestvec.tune import check

    drift = check(index, queries, k, seed=seed, progress=bar)
    if json:
        print_json({"index": index.path, **drift.to_json()})
    else:
        print(drift)
    return drift.verdict == "HOLDS"
