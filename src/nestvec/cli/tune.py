"""`nestvec tune`: the cheapest search plan with a guarantee, saved in the index."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from nestvec.cli import options
from nestvec.cli.model import encoder_choice, encoder_options
from nestvec.cli.output import Columns, note, print_json, print_table, short_path, size
from nestvec.collections.encoders import (
    EncoderChoice,
    encode_queries,
    open_for_queries,
    tell_query_prompt,
)
from nestvec.collections.input_rows import (
    check_not_transformed,
    read_texts_to_encode,
    reject_unused,
)
from nestvec.index import Index
from nestvec.inputs import holds_vectors
from nestvec.inputs.column_roles import ColumnChoice
from nestvec.progress import bar
from nestvec.shapes import Float

if TYPE_CHECKING:
    from nestvec.tuning.guarantee import Guarantee
    from nestvec.tuning.queries import EvaluationQueries
    from nestvec.tuning.targets import Targets
    from nestvec.tuning.tuned import PlanTest

NOT_SHOWN = 1
_CONFIDENCE = 0.95
_TEST_COLUMNS: Columns = {
    "attained": "right",
    "p-value": "right",
    "bytes/query": "right",
    "plan": "left",
}


def tune(
    index: options.IndexPath,
    queries: Annotated[
        Path,
        typer.Argument(
            help="Held-out queries, like those to come: texts (.jsonl, .tsv, .csv, .txt) or "
            "vectors (.npy, .npz, .safetensors, .parquet, .jsonl). Hundreds; for .99 a thousand."
        ),
    ],
    recall: Annotated[
        float | None,
        typer.Option(help="Guarantee this mean recall on queries to come; 0.99 by default."),
    ] = None,
    perfect_recall: Annotated[
        float | None,
        typer.Option(help="Or: this share of queries to come has a recall of 1."),
    ] = None,
    shortlist_recall: Annotated[
        float | None,
        typer.Option(help="Or: for this share the shortlist, reranked elsewhere, has all k."),
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
        float | None, typer.Option(help="Confidence of the guarantee; 0.95 by default.")
    ] = None,
    k: Annotated[
        int, typer.Option("-k", help="How many hits per query; to check a shortlist, its length.")
    ] = 10,
    plan: Annotated[
        list[str] | None,
        typer.Option(metavar="PLAN", help="Test this plan; repeat for several. A grid by default."),
    ] = None,
    check_drift: Annotated[
        bool,
        typer.Option(
            "--check-drift", help="Test on new queries whether the saved plan's guarantee holds."
        ),
    ] = False,
    save: Annotated[
        bool, typer.Option("--save/--no-save", help="Save the plan in the index, as its default.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Equal input and seed give an equal plan.")] = 0,
    key: options.Key = None,
    text_column: options.TextColumn = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="In place of the model the index records.")
    ] = None,
    base_url: options.BaseUrl = None,
    query_prompt: options.QueryPrompt = None,
    trust_remote_code: options.TrustRemoteCode = False,
    header: options.Header = None,
    json: options.Json = False,
) -> None:
    """Find the cheapest plan with a guarantee, and make it the index's default.

    Exit code 1 where no plan has the guarantee or, with --check-drift, it is not shown to hold.

    Examples:
      nestvec tune corpus.nv queries.npy --recall 0.99
      nestvec tune corpus.nv questions.txt -k 100 --perfect-recall 0.95
      nestvec tune corpus.nv queries.jsonl --ndcg 0.99 --qrels qrels/test.tsv
      nestvec tune corpus.nv new_queries.npy --check-drift
    """
    from nestvec.tuning.guarantee import Guarantee

    opened = Index.open(index)
    targets: Targets = {
        "recall": recall,
        "perfect_recall": perfect_recall,
        "shortlist_recall": shortlist_recall,
        "ndcg": ndcg,
    }
    guarantee = Guarantee.from_targets(
        k, _CONFIDENCE if confidence is None else confidence, targets
    )
    if check_drift:
        named = {f"--{name.replace('_', '-')}": target for name, target in targets.items()}
        unused = {**named, "--confidence": confidence, "--plan": plan, "--no-save": not save}
        reject_unused("with --check-drift, which tests the saved plan", unused)
    of_encoder = encoder_options(query_prompt, None, trust_remote_code, header)
    encoder = encoder_choice(model, base_url, of_encoder)
    evaluation = _read(opened, queries, qrels, (key, text_column), encoder)
    if check_drift:
        shown = _check(opened, evaluation, k, seed, json)
    else:
        shown = _tune(opened, evaluation, guarantee, plan or None, seed, save, json)
    if not shown:
        raise typer.Exit(NOT_SHOWN)


def _read(
    index: Index,
    path: Path,
    qrels: Path | None,
    columns: tuple[str | None, list[str] | None],
    encoder: EncoderChoice,
) -> "EvaluationQueries":
    """Read the queries of a file and their relevance judgments, if there are any."""
    from nestvec.tuning.queries import EvaluationQueries

    vectors, ids = _vectors(index, path, columns, encoder)
    if qrels is None:
        return EvaluationQueries(vectors)
    from nestvec.data import read_qrels

    return EvaluationQueries(vectors, read_qrels(qrels, ids, index.ids.tolist()), ids)


def _vectors(
    index: Index,
    path: Path,
    columns: tuple[str | None, list[str] | None],
    encoder: EncoderChoice,
) -> tuple[Float[np.ndarray, "q dim"], Sequence[Any]]:
    """Read the vectors of a file, or encode its texts; also return the ids."""
    key, text_column = columns
    if holds_vectors(path, key, text_column):
        from nestvec.encode import read_vectors

        unused = {"--model": encoder.name, "--base-url": encoder.base_url}
        reject_unused("for vectors, which are not encoded", unused)
        vector_file = read_vectors(path, key)
        check_not_transformed(path, vector_file.adapted_by)
        tell_query_prompt(index, path)
        return vector_file.vectors, range(
            len(vector_file.vectors)
        ) if vector_file.ids is None else vector_file.ids.tolist()
    corpus = read_texts_to_encode(path, ColumnChoice(text_column))
    return encode_queries(open_for_queries(index, encoder, note), corpus.texts), corpus.ids


def _tune(
    index: Index,
    evaluation: "EvaluationQueries",
    guarantee: "Guarantee",
    plans: list[str] | None,
    seed: int,
    save: bool,
    json: bool,
) -> bool:
    """Tune, print the result and save the plan with the guarantee; return whether there is one."""
    from nestvec.tuning.tuner import tune_plan

    tuned = tune_plan(index, evaluation, guarantee, plans, seed, bar)
    saved = save and tuned.plan is not None
    if saved:
        tuned.save(index)
    if json:
        print_json({"index": index.path, "saved": saved, **tuned.to_json()})
        return tuned.plan is not None
    print(tuned)
    print()
    print_table(_TEST_COLUMNS, [_test_cells(test) for test in tuned.plan_tests])
    if saved:
        place = short_path(index.path)
        print(f"\nsaved: searches of {place} for k={tuned.rows} use it until rows change")
    return tuned.plan is not None


def _test_cells(test: "PlanTest") -> Sequence[str]:
    bytes_read = size(test.bytes_per_query)
    return f"{test.attained:.4f}", f"{test.p_value:.2g}", bytes_read, str(test.plan)


def _check(index: Index, evaluation: "EvaluationQueries", k: int, seed: int, json: bool) -> bool:
    """Check the saved plan on new queries and print the result; return whether it holds."""
    from nestvec.tuning.drift import check_drift

    drift = check_drift(index, evaluation, k, seed, bar)
    if json:
        print_json({"index": index.path, **drift.to_json()})
    else:
        print(drift)
    return drift.verdict == "HOLDS"
