"""`nestvec tune`: the cheapest search plan with a promise, kept in the index."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from nestvec.cli import options
from nestvec.cli.material import check_as_made, holds_vectors, refuse
from nestvec.cli.output import Columns, print_json, print_table, size
from nestvec.index import Index
from nestvec.progress import bar
from nestvec.shapes import Float

if TYPE_CHECKING:
    from nestvec.tuning.guarantee import Promise
    from nestvec.tuning.queries import Asked
    from nestvec.tuning.tuned import Trial

NOT_SHOWN = 1
_CONFIDENCE = 0.95
_TRIAL_COLUMNS: Columns = {"served": "right", "p": "right", "bytes/query": "right", "plan": "left"}


def tune(
    index: options.IndexPath,
    queries: Annotated[
        Path,
        typer.Argument(
            help="Held-out queries, such as will be asked: texts (.jsonl, .tsv, .csv, .txt) or "
            "vectors (.npy, .npz, .safetensors, .parquet, .jsonl). Hundreds; for .99 a thousand."
        ),
    ],
    recall: Annotated[
        float | None,
        typer.Option(help="Promise this mean recall on queries to come; 0.99 if none is named."),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option("--all", help="Or: such a share of queries has all k hits found."),
    ] = None,
    containment: Annotated[
        float | None,
        typer.Option(help="Or: such a share has all k in a shortlist to rerank elsewhere."),
    ] = None,
    ndcg: Annotated[
        float | None,
        typer.Option(help="Or: at most 1 - this of nDCG@k is lost on average; needs --qrels."),
    ] = None,
    qrels: Annotated[
        Path | None,
        typer.Option(
            metavar="TSV", help="For --ndcg, relevant documents: query-id, corpus-id, score."
        ),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="How sure to be of that; else 0.95.")
    ] = None,
    k: Annotated[
        int, typer.Option("-k", help="How many hits per query; to check a shortlist, its length.")
    ] = 10,
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
    seed: Annotated[int, typer.Option(min=0, help="Equal input and seed give an equal plan.")] = 0,
    key: options.Key = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="In place of the model the index records.")
    ] = None,
    base_url: options.BaseUrl = None,
    json: options.Json = False,
) -> None:
    """Find the cheapest plan that keeps a promise, and make it the index's default.

    Exit code 1 where no plan is certified or, with --check, the promise is not borne out.

    Examples:
      nestvec tune corpus.nv queries.npy --recall 0.99
      nestvec tune corpus.nv questions.txt -k 100 --all 0.95
      nestvec tune corpus.nv queries.jsonl --ndcg 0.99 --qrels qrels/test.tsv
      nestvec tune corpus.nv new_queries.npy --check
    """
    from nestvec.tuning.guarantee import Promise

    opened = Index.open(index)
    targets = {"recall": recall, "all": every, "containment": containment, "ndcg": ndcg}
    promise = Promise.choose(k, _CONFIDENCE if confidence is None else confidence, targets)
    if check:
        named = {f"--{name}": target for name, target in targets.items()}
        given = {**named, "--confidence": confidence, "--plan": plan, "--no-keep": not keep}
        refuse("with --check, which tests what is kept", given)
    asked = _read(opened, queries, qrels, key, model, base_url)
    if check:
        shown = _check(opened, asked, k, seed, json)
    else:
        shown = _tune(opened, asked, promise, plan or None, seed, keep, json)
    if not shown:
        raise typer.Exit(NOT_SHOWN)


def _read(
    index: Index,
    path: Path,
    qrels: Path | None,
    key: str | None,
    model: str | None,
    base_url: str | None,
) -> "Asked":
    """The queries of a file and, if there are any, their judgements."""
    from nestvec.tuning.queries import Asked

    vectors, ids = _vectors(index, path, key, model, base_url)
    if qrels is None:
        return Asked(vectors)
    from nestvec.data import read_qrels

    return Asked(vectors, read_qrels(qrels, ids, index.ids.tolist()), ids)


def _vectors(
    index: Index, path: Path, key: str | None, model: str | None, base_url: str | None
) -> tuple[Float[np.ndarray, "q dim"], Sequence[Any]]:
    """The vectors of a file, or of its texts, and their ids."""
    if holds_vectors(path):
        from nestvec.encode import read_vectors

        refuse("for vectors, which are not encoded", {"--model": model, "--base-url": base_url})
        given = read_vectors(path, key)
        check_as_made(path, given.adapted_by)
        return given.vectors, range(len(given.vectors)) if given.ids is None else given.ids.tolist()
    from nestvec.cli.model import open_for
    from nestvec.data import read_texts

    refuse("for texts; it is for vectors", {"--key": key})
    corpus = read_texts(path)
    return open_for(index, model, base_url).encode(list(corpus.texts)), corpus.ids


def _tune(
    index: Index,
    asked: "Asked",
    promise: "Promise",
    plans: list[str] | None,
    seed: int,
    keep: bool,
    json: bool,
) -> bool:
    """Print what is found and keep a certified plan; whether there is one."""
    from nestvec.tuning.tuner import run

    tuned = run(index, asked, promise, plans, seed, bar)
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
        print(f"\nkept: searches of {index.path} for k={tuned.rows} use it until rows change")
    return tuned.plan is not None


def _trial_cells(trial: "Trial") -> Sequence[str]:
    read = size(trial.bytes_per_query)
    return f"{trial.served:.4f}", f"{trial.p_value:.2g}", read, str(trial.plan)


def _check(index: Index, asked: "Asked", k: int, seed: int, json: bool) -> bool:
    """Print how the kept plan does on new queries; whether its promise is borne out."""
    from nestvec.tuning.drift import run

    drift = run(index, asked, k, seed, bar)
    if json:
        print_json({"index": index.path, **drift.to_json()})
    else:
        print(drift)
    return drift.verdict == "HOLDS"
