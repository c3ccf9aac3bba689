"""`nestvec classify`: cascades that read as few dimensions as each row needs."""

from collections.abc import Sequence
from dataclasses import asdict, replace
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
    from nestvec.classify.report import CascadeReport, PrefixReport
    from nestvec.encode import Encoder

_PREFIX_COLUMNS: Columns = {
    "dims": "right", "accuracy alone": "right", "95 %": "right", "calibration error": "right",
    "threshold": "right", "exits": "right",
}  # fmt: skip
_PREDICTION_COLUMNS: Columns = {
    "id": "left", "label": "left", "probability": "right", "dims read": "right",
}  # fmt: skip
_WITH_TEXT: Columns = {**_PREDICTION_COLUMNS, "text": "left"}
_SHOWN_CHARS = 70

classify = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Classify vectors or texts by as few dimensions as each needs: fit, report, predict.",
)


class ClassifierOption(str, Enum):
    """Kinds of classifiers that are fitted to each prefix."""

    softmax = "softmax"
    nearest_mean = "nearest-mean"


class RotationOption(str, Enum):
    """Orders of dimensions."""

    pca = "pca"
    none = "none"


class ThresholdSearchOption(str, Enum):
    """Ways to choose exit thresholds: the last first, or by pairs."""

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
    classifier: Annotated[
        ClassifierOption, typer.Option(help="Kind of classifier.")
    ] = ClassifierOption.softmax,
    rotation: Annotated[
        RotationOption,
        typer.Option(help="none keeps the model's own order, for models trained nested."),
    ] = RotationOption.pca,
    threshold_search: Annotated[
        ThresholdSearchOption,
        typer.Option(
            help="Without --alpha: thresholds from the last prefix to the first, or prefix by "
            "prefix as in the MRL paper."
        ),
    ] = ThresholdSearchOption.backward,
    alpha: Annotated[
        float | None,
        typer.Option(help="Guarantee that accuracy is within this of full width's."),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Confidence of the guarantee.")] = 0.95,
    held_out: Annotated[
        float, typer.Option(help="Share of each class that is not fitted on.")
    ] = 0.3,
    seed: Annotated[
        int, typer.Option(min=0, help="Equal input and seed give an equal cascade.")
    ] = 0,
    json: options.Json = False,
) -> None:
    """Fit a classifier to every prefix, and the exit thresholds between them.

    Examples:
      nestvec classify fit texts.tsv -o intents.safetensors --only split=train
      nestvec classify fit rows.npy -o intents.safetensors --texts texts.tsv --alpha 0.02
    """
    from nestvec.classify import Cascade

    rows = LabelledFile(data, texts, only, text_column, key, bar).load(*_chosen(model, base_url))
    cascade = Cascade.fit(
        rows.vectors, rows.column(label), dims or None, classifier=classifier.value,
        rotation=rotation.value,
        threshold_search=threshold_search.value, alpha=alpha, confidence=confidence,
        held_out=held_out, seed=seed,
    )  # fmt: skip
    cascade = replace(cascade, model=rows.model)
    cascade.save(output)
    facts = {
        "output": output,
        "classes": len(cascade.labels),
        "train_rows": sum(cascade.class_counts),
        "dims": cascade.dims,
        "thresholds": cascade.thresholds,
        "temperatures": [classifier.temperature for classifier in cascade.classifiers],
        "guarantee": _guarantee_facts(cascade),
    }
    if json:
        print_json(facts)
        return
    exits = ", ".join(
        f"{dim} from {threshold:.2f}" if threshold <= 1 else f"{dim} never"
        for dim, threshold in zip(cascade.dims, cascade.thresholds, strict=False)
    )
    print_facts(
        {
            "cascade": f"{output}, {len(cascade.labels)} classes",
            "exits": f"{exits}, else {cascade.dims[-1]}" if exits else f"{cascade.dims[-1]}",
            "guarantee": _guarantee_text(cascade),
        }
    )


def _guarantee_facts(cascade: "Cascade") -> dict[str, Any] | None:
    guarantee = cascade.guarantee
    return None if guarantee is None else {**asdict(guarantee), "is_shown": guarantee.is_shown}


def _guarantee_text(cascade: "Cascade") -> str:
    guarantee = cascade.guarantee
    if guarantee is None:
        return "none (use --alpha)"
    if not guarantee.is_shown:
        return (
            f"full width answers all rows: no threshold has the guarantee on {guarantee.n} rows "
            f"(it takes {guarantee.rows_needed} with none lost)"
        )
    return (
        f"accuracy within {guarantee.alpha:g} of full width at {guarantee.confidence:g} confidence "
        f"({guarantee.lost} of {guarantee.n} rows lost)"
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
    """Evaluate a cascade on labelled rows: each prefix, dimensions read, rare and common classes.

    Examples:
      nestvec classify report intents.safetensors texts.tsv --only split=test
    """
    from nestvec.classify import Cascade
    from nestvec.classify.report import report as evaluate

    opened = Cascade.load(cascade)
    file = LabelledFile(data, texts, only, text_column, key, bar)
    rows = file.load(*_recorded(opened, model, base_url))
    result = evaluate(opened, rows.vectors, rows.column(label))
    if json:
        print_json({"cascade": cascade, **result.to_json()})
    else:
        _print_report(result)


def _print_report(result: "CascadeReport") -> None:
    print_facts(
        {
            "rows": f"{result.rows:,}",
            "accuracy": f"{_percent(result.accuracy)}; full width {_percent(result.full_width)}",
            "lost": f"{_percent(result.lost)}, correct at full width only",
            "dims read": f"{result.expected_dims:.1f} on average; "
            f"all prefixes added {result.expected_dims_computed:.1f}",
        }
    )
    print()
    print_table(_PREFIX_COLUMNS, [_prefix_cells(prefix) for prefix in result.prefixes])
    print()
    columns: Columns = {"rows fitted on": "left", "classes": "right", "rows": "right"}
    by_dims: Columns = {str(prefix.dims): "right" for prefix in result.prefixes}
    columns = {**columns, **by_dims, "cascade": "right"}
    slices = [
        (f"{slice_.min_class_rows} to {slice_.max_class_rows}", str(slice_.classes),
         f"{slice_.rows:,}", *(f"{share:.1%}" for share in (*slice_.by_dims, slice_.cascade)))
        for slice_ in result.slices
    ]  # fmt: skip
    print_table(columns, slices)


def _prefix_cells(prefix: "PrefixReport") -> Sequence[str]:
    threshold = prefix.threshold
    return (
        str(prefix.dims), f"{prefix.accuracy.value:.1%}",
        f"{prefix.accuracy.low:.1%} to {prefix.accuracy.high:.1%}",
        f"{prefix.calibration_error:.3f}",
        "" if threshold is None else "never" if threshold > 1 else f"{threshold:.2f}",
        f"{prefix.exit_share:.1%}",
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
    """Predict labels of rows, with their probability and the dimensions read.

    Examples:
      nestvec classify predict intents.safetensors new.txt
      nestvec classify predict intents.safetensors rows.npy --json
    """
    from nestvec.classify import Cascade

    opened = Cascade.load(cascade)
    file = LabelledFile(data, texts, only, text_column, key, bar)
    rows = file.load(*_recorded(opened, model, base_url))
    labels, probability, dims_read = (values.tolist() for values in opened.predict(rows.vectors))
    table = list(zip(rows.ids, labels, probability, dims_read, strict=True))
    if json:
        names = ("id", "label", "probability", "dims_read")
        print_json({"predictions": [dict(zip(names, row, strict=True)) for row in table]})
        return
    cells = [(str(id_), str(label), f"{p:.2f}", str(dims)) for id_, label, p, dims in table]
    if rows.texts is None:
        print_table(_PREDICTION_COLUMNS, cells)
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
    """Return the same as `_chosen`, with the recorded encoder where no option names one."""

    def opened() -> "tuple[Encoder, dict[str, Any]]":
        encoder = open_recorded(cascade.model, encoder_choice(model, base_url), note)
        return encoder, model_record(encoder)

    return partial(record_of_options, model, base_url, None), opened
