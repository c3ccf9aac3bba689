"""`nestvec encode`: texts to a file of vectors."""

import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nestvec.cli import options
from nestvec.cli.output import note, print_facts, print_json, size
from nestvec.collections.input_rows import reject_unused
from nestvec.errors import BadTextError, InputError

if TYPE_CHECKING:
    from nestvec.collections.encoders import EncoderChoice
    from nestvec.data import Corpus
    from nestvec.encode.registry import EncoderOptions


class SideOption(str, Enum):
    """The sides of a search."""

    query = "query"
    document = "document"


def encode(
    texts: Annotated[
        Path,
        typer.Argument(
            help="Texts: .jsonl, .tsv, .csv or .txt, each also as .gz. For a model that nestvec "
            "train image made: images, as a .npz, a .zip or a folder of classes."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .npy file to write.")],
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="minilm, a name or folder, or openai:MODEL.")
    ] = "minilm",
    side: Annotated[
        SideOption | None,
        typer.Option(
            help="For a model with prompts, what the texts are: documents (the default) or queries."
        ),
    ] = None,
    dims: options.EncodedDims = None,
    dimensions: options.Dimensions = None,
    base_url: options.BaseUrl = None,
    query_prompt: options.QueryPrompt = None,
    document_prompt: options.DocumentPrompt = None,
    text_column: options.TextColumn = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of images: train (the default), test, …"),
    ] = None,
    limit: options.Limit = None,
    batch_size: options.BatchSize = None,
    requests: options.Requests = None,
    on_bad_text: options.OnBadText = options.OnBadTextOption.fail,
    revision: options.Revision = None,
    trust_remote_code: options.TrustRemoteCode = False,
    header: options.Header = None,
    json: options.Json = False,
) -> None:
    """Encode a file of texts into unit vectors, one row per text; or images.

    Stopped in the middle, the same command goes on where it was.

    Examples:
      nestvec encode corpus.jsonl -o corpus.npy
      nestvec encode papers.csv -o papers.npy --text-column abstract
      nestvec encode queries.jsonl -o queries.npy --model intfloat/e5-base-v2 --side query
      nestvec encode corpus.jsonl -o corpus.npy --model openai:NAME --dims 256
      nestvec encode images.npz -o images.npy --model runs/images/model --part test
    """
    from nestvec.cli.model import headers_of
    from nestvec.inputs.folders import has_folders

    start = time.perf_counter()
    of_encoder: EncoderOptions = {
        "dims": dims, "query_prompt": query_prompt, "document_prompt": document_prompt,
        "batch_size": batch_size, "requests": requests, "revision": revision,
        "trust_remote_code": trust_remote_code, "headers": headers_of(header),
    }  # fmt: skip
    if texts.suffix.lower() in (".npz", ".zip") or has_folders(texts):
        others: dict[str, object] = {
            "--text-column": text_column, "--limit": limit, "--base-url": base_url,
            "--dimensions": dimensions, "--side": side, "--header": header,
        }  # fmt: skip
        flags = {f"--{name.replace('_', '-')}": value for name, value in of_encoder.items()}
        reject_unused(f"for the images in {texts}", {**flags, **others})
        rows, about = _encode_images(texts, part or "train", Path(model), output)
    else:
        from nestvec.cli.model import encoder_choice
        from nestvec.collections.input_rows import read_texts_to_encode
        from nestvec.encode.encoder import check_texts
        from nestvec.encode.writer import check_output
        from nestvec.inputs.column_roles import ColumnChoice

        reject_unused("for texts; it is for images", {"--part": part})
        # Refused before a model is opened, which for an embedding API sends the first text.
        check_output(output)
        corpus = read_texts_to_encode(texts, ColumnChoice(text_column), limit)
        check_texts(corpus.texts)
        choice = encoder_choice(model, base_url, of_encoder)
        target = _Target(output, side, on_bad_text.value)
        rows, about = _encode_texts(texts, corpus, choice, dimensions, target)
    facts = {
        "output": output,
        "rows": rows,
        "dim": about["dim"],
        "size_bytes": output.stat().st_size,
        "seconds": round(time.perf_counter() - start, 3),
        "model": about,
    }
    if json:
        print_json(facts)
        return
    print_facts(
        {
            "vectors": f"{output}, {facts['rows']:,} rows of {facts['dim']} dims as float32",
            "size": size(output.stat().st_size),
            "model": f"{about['name']} ({about['revision'] or 'revision unknown'})",
            "time": f"{facts['seconds']:,.1f} s",
        }
    )


@dataclass(frozen=True, slots=True)
class _Target:
    """The file to write, and how its texts are encoded."""

    output: Path
    side: SideOption | None
    on_bad_text: Literal["fail", "skip", "blank"]


def _encode_texts(
    path: Path,
    corpus: "Corpus",
    choice: "EncoderChoice",
    dimensions: int | None,
    target: _Target,
) -> tuple[int, dict[str, Any]]:
    """Write the unit rows of texts; return their number, and facts about the model."""
    from nestvec.collections.bad_texts import name_in_file, tell_blanks
    from nestvec.collections.encoders import model_record
    from nestvec.encode import encode_to_file
    from nestvec.progress import bar

    encoder = choice.open(dimensions)
    prompts = encoder.info.prompts
    side = SideOption.document if target.side is None else target.side
    if target.side is None and prompts is not None:
        note(
            f"the texts are encoded as documents, with the prompt {prompts.document!r} before "
            f"each; --side query puts {prompts.query!r}"
        )
    try:
        reasons = encode_to_file(
            encoder, corpus.texts, target.output, side=side.value,
            on_bad_text=target.on_bad_text, progress=bar,
        )  # fmt: skip
    except BadTextError as e:
        raise name_in_file(e, path, corpus) from e
    skipped = target.on_bad_text == "skip"
    tell_blanks(reasons, path, corpus, skipped=skipped)
    record = model_record(encoder, dimensions)
    if prompts is not None:
        record["side"] = side.value
    return len(corpus) - (len(reasons) if skipped else 0), record


def _encode_images(
    images: Path, part: str, model: Path, output: Path
) -> tuple[int, dict[str, Any]]:
    """Write the unit rows of images; return their number, and facts about the model."""
    import numpy as np

    from nestvec.encode.checkpoint import fingerprint
    from nestvec.encode.encoder import ModelInfo, unit_rows
    from nestvec.train.data.images import read_images
    from nestvec.train.models.image_model import ImageModel
    from nestvec.train.recipes.image import embed

    if output.suffix != ".npy" or output.exists():
        raise InputError(f"{output} is to be a new file that ends in .npy")
    opened = ImageModel.load(model)
    rows = unit_rows(embed(opened, read_images(images, part)), str(model))
    np.save(output, rows)
    return len(rows), ModelInfo(str(model), fingerprint(model), opened.dim).to_json()
