"""`nestvec classify`: cascades that read as few dimensions as a text needs."""

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestvec.cli import options
from nestvec.cli.model import encoder_choice, open_model, record_of_options
from nestvec.cli.output import Columns, note, print_facts, print_json, print_table, shorten
from nestvec.collections.encoders import model_record, open_recorded
from nestvec.collections.labelled_rows import LabelledFile, Opener, VectorModel
from nestvec.progress import bar

if TYPE_CHECKING:
    from nestvec.classify import Cascade
    from nestvec.classify.report import CascadeReport, SizeReport
    from nestvec.encode import Encoder

_SIZES: Columns = {
    "dims": "right", "accuracy alone": "right", "95 %": "right", "calibration error": "right",
    "threshold": "right", "answers": "right",
}  # fmt: skip
_PREDICTED: Columns = {"id": "left", "label": "left", "sure": "right", "dims": "right"}
_WITH_TEXT: Columns = {**_PREDICTED, "text": "left"}
_SHOWN_CHARS = 70

classify = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Classify vectors or texts by as few dimensions as each needs: fit, report, predict.",
)


class Classifier(str, Enum):
    """What is fitted for each size."""

    softmax = "softmax"
    nearest_mean = "nearest-mean"


class Rotation(str, Enum):
    """Which dimensions come first."""

    pca = "pca"
    none = "none"


class Chain(str, Enum):
    """How thresholds are chosen, the last first or by pairs."""

    backward = "backward"
    pairwise = "pairwise"


_Cascade = Annotated[Path, typer.Argument(metavar="CASCADE", help="A file written by fit.")]
_Label = Annotated[str, typer.Option(metavar="NAME", help="Column with the labels.")]
_Only = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Rows with this value alone; repeat for several."),
]
_LabelledTexts = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="For vectors: texts with their labels, row by row."),
]


@classify.command()
def fit(
    data: options.Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")],
    label: _Label = "label",
    only: _Only = None,
    texts: _LabelledTexts = None,
    text_column: options.TextColumn = None,
    model: options.Maker = None,
    base_url: options.BaseUrl = None,
    key: options.Key = None,
    dims: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Repeat for several; else halvings of the width."),
    ] = None,
    classifier: Annotated[Classifier, typer.Option(help="What is fitted.")] = Classifier.softmax,
    rotation: Annotated[
        Rotation, typer.Option(help="none keeps the model's own order, for models trained nested.")
    ] = Rotation.pca,
    chain: Annotated[
        Chain, typer.Option(help="Without --alpha. pairwise: the MRL paper's.")
    ] = Chain.backward,
    alpha: Annotated[
        float | None,
        typer.Option(help="Certify that accuracy is within this of full width's. Else no promise."),
    ] = None,
    confidence: Annotated[float, typer.Option(help="How sure to be of that.")] = 0.95,
    held_out: Annotated[float, typer.Option(help="Share of each class not learnt from.")] = 0.3,
    seed: Annotated[
        int, typer.Option(min=0, help="Equal input and seed give an equal cascade.")
    ] = 0,
    json: options.Json = False,
) -> None:
    """Fit a classifier for every size, and how sure each must be to answer.

    Examples:
      nestvec classify fit texts.tsv -o intents.safetensors --only split=train
      nestvec classify fit rows.npy -o intents.safetensors --texts texts.tsv --alpha 0.02
    """
    from nestvec.classify import Cascade

    rows = LabelledFile(data, texts, only, text_column, key, bar).load(*_chosen(model, base_url))
    cascade = Cascade.fit(
        rows.vectors, rows.column(label), dims or None, classifier=classifier.value,
        rotation=rotation.value,
        chain=chain.value, alpha=alpha, confidence=confidence, held_out=held_out, seed=seed,
    )  # fmt: skip
    cascade = replace(cascade, model=rows.model)
    cascade.save(output)
    facts = {
        "output": output,
        "classes": len(cascade.labels),
        "learnt_from": sum(cascade.counts),
        "dims": cascade.dims,
        "thresholds": cascade.thresholds,
        "temperatures": [size.temperature for size in cascade.sizes],
        "certificate": _certificate(cascade),
    }
    if json:
        print_json(facts)
        return
    sizes = ", ".join(
        f"{dim} if {threshold:.2f} sure" if threshold <= 1 else f"{dim} never"
        for dim, threshold in zip(cascade.dims, cascade.thresholds, strict=False)
    )
    print_facts(
        {
            "cascade": f"{output}, {len(cascade.labels)} classes",
            "answers": f"{sizes}, else {cascade.dims[-1]}" if sizes else f"{cascade.dims[-1]}",
            "promise": _promise(cascade),
        }
    )


def _certificate(cascade: "Cascade") -> dict[str, Any] | None:
    from dataclasses import asdict

    found = cascade.certificate
    return None if found is None else {**asdict(found), "shown": found.shown}


def _promise(cascade: "Cascade") -> str:
    found = cascade.certificate
    if found is None:
        return "none (give --alpha)"
    if not found.shown:
        return (
            f"full width answers all: no threshold is certified on {found.n} rows "
            f"(it takes {found.needed} with none lost)"
        )
    return (
        f"accuracy within {found.alpha:g} of full width at {found.confidence:g} confidence "
        f"({found.lost} of {found.n} rows lost)"
    )


@classify.command()
def report(
    cascade: _Cascade,
    data: options.Data,
    label: _Label = "label",
    only: _Only = None,
    texts: _LabelledTexts = None,
    text_column: options.TextColumn = None,
    model: options.Maker = None,
    base_url: options.BaseUrl = None,
    key: options.Key = None,
    json: options.Json = False,
) -> None:
    """Hold a cascade against labelled rows: each size, dimensions read, rare and common classes.

    Examples:
      nestvec classify report intents.safetensors texts.tsv --only split=test
    """
    from nestvec.classify import Cascade
    from nestvec.classify.report import report as hold

    opened = Cascade.load(cascade)
    file = LabelledFile(data, texts, only, text_column, key, bar)
    rows = file.load(*_recorded(opened, model, base_url))
    found = hold(opened, rows.vectors, rows.column(label))
    if json:
        print_json({"cascade": cascade, **found.to_json()})
    else:
        _print_report(found)


def _print_report(found: "CascadeReport") -> None:
    print_facts(
        {
            "rows": f"{found.rows:,}",
            "accuracy": f"{_percent(found.accuracy)}; full width {_percent(found.full)}",
            "lost": f"{_percent(found.lost)}, right at full width alone",
            "dims read": f"{found.expected_dims:.1f} on average; "
            f"all sizes added {found.expected_dims_summed:.1f}",
        }
    )
    print()
    print_table(_SIZES, [_size_cells(size) for size in found.sizes])
    print()
    columns: Columns = {"rows to learn from": "left", "classes": "right", "rows": "right"}
    columns = {**columns, **{str(size.dims): "right" for size in found.sizes}, "cascade": "right"}
    slices = [
        (f"{of.fewest} to {of.most}", str(of.classes), f"{of.rows:,}",
         *(f"{share:.1%}" for share in (*of.by_size, of.cascade)))
        for of in found.slices
    ]  # fmt: skip
    print_table(columns, slices)


def _size_cells(size: "SizeReport") -> Sequence[str]:
    threshold = size.threshold
    return (
        str(size.dims), f"{size.accuracy.value:.1%}",
        f"{size.accuracy.low:.1%} to {size.accuracy.high:.1%}", f"{size.calibration_error:.3f}",
        "" if threshold is None else "never" if threshold > 1 else f"{threshold:.2f}",
        f"{size.answered:.1%}",
    )  # fmt: skip


def _percent(estimate: Any) -> str:
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


@classify.command()
def predict(
    cascade: _Cascade,
    data: options.Data,
    only: _Only = None,
    texts: _LabelledTexts = None,
    text_column: options.TextColumn = None,
    model: options.Maker = None,
    base_url: options.BaseUrl = None,
    key: options.Key = None,
    json: options.Json = False,
) -> None:
    """Label rows: which label, how sure, and how many dimensions were read.

    Examples:
      nestvec classify predict intents.safetensors new.txt
      nestvec classify predict intents.safetensors rows.npy --json
    """
    from nestvec.classify import Cascade

    opened = Cascade.load(cascade)
    file = LabelledFile(data, texts, only, text_column, key, bar)
    rows = file.load(*_recorded(opened, model, base_url))
    found = opened.predict(rows.vectors)
    told = list(
        zip(rows.ids, found.labels.tolist(), found.sure.tolist(), found.dims.tolist(), strict=True)
    )
    if json:
        names = list(_PREDICTED)
        print_json({"predictions": [dict(zip(names, row, strict=True)) for row in told]})
        return
    cells = [(str(id_), str(label), f"{sure:.2f}", str(dims)) for id_, label, sure, dims in told]
    if rows.texts is None:
        print_table(_PREDICTED, cells)
        return
    shown = (shorten(text, _SHOWN_CHARS) for text in rows.texts)
    print_table(_WITH_TEXT, [(*row, text) for row, text in zip(cells, shown, strict=True)])


def _chosen(model: str | None, base_url: str | None) -> tuple[VectorModel, Opener]:
    """Return what records the model of vectors, and what opens the encoder of texts, by options."""

    def opened() -> "tuple[Encoder, dict[str, Any]]":
        encoder = open_model(model, base_url, None)
        return encoder, model_record(encoder)

    return partial(record_of_options, model, base_url, None), opened


def _recorded(
    cascade: "Cascade", model: str | None, base_url: str | None
) -> tuple[VectorModel, Opener]:
    """As `_chosen`, with the encoder that the cascade records where no option names one."""

    def opened() -> "tuple[Encoder, dict[str, Any]]":
        encoder = open_recorded(cascade.model, encoder_choice(model, base_url), note)
        return encoder, model_record(encoder)

    return partial(record_of_options, model, base_url, None), opened
