"""`nestvec encode`: texts to a file of vectors."""

import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestvec.cli import options
from nestvec.cli.output import note, print_facts, print_json, size
from nestvec.collections.input_rows import InputFile, InputRows, reject_unused
from nestvec.errors import InputError
from nestvec.inputs.formats import suffix_of

if TYPE_CHECKING:
    from nestvec.collections.encoders import EncoderChoice
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
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The file to write: .npy, .npz or .safetensors for vectors, .jsonl or .parquet "
            "for vectors with ids, texts and metadata.",
        ),
    ],
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
    id_column: options.IdColumn = None,
    metadata_columns: options.MetadataColumns = None,
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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    json: options.Json = False,
) -> None:
    """Encode a file of texts into unit vectors, one row per text; or images.

    If you stop the command, the same command continues it.

    Examples:
      nestvec encode corpus.jsonl -o corpus.npy
      nestvec encode corpus.jsonl -o corpus.parquet
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
            "--text-column": text_column, "--id-column": id_column,
            "--metadata-columns": metadata_columns, "--limit": limit, "--base-url": base_url,
            "--dimensions": dimensions, "--side": side, "--header": header,
        }  # fmt: skip
        flags = {f"--{name.replace('_', '-')}": value for name, value in of_encoder.items()}
        reject_unused(f"for the images in {texts}", {**flags, **others})
        rows, about = _encode_images(texts, part or "train", Path(model), output, overwrite)
    else:
        from nestvec.cli.model import encoder_choice
        from nestvec.inputs.column_roles import ColumnChoice

        reject_unused("for texts; it is for images", {"--part": part})
        source = InputFile(
            texts, None, None, ColumnChoice(text_column, id_column, metadata_columns), limit,
            (side or SideOption.document).value, on_bad_text.value,
        )  # fmt: skip
        choice = encoder_choice(model, base_url, of_encoder)
        rows, about = _encode_texts(
            source, choice, dimensions, output, has_side=side is not None, overwrite=overwrite
        )
    facts = {
        "output": output,
        "rows": rows,
        "dim": about["dim"],
        "size_bytes": output.stat().st_size,
        "duration_s": round(time.perf_counter() - start, 3),
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
            "time": f"{facts['duration_s']:,.1f} s",
        }
    )


def _encode_texts(
    source: InputFile,
    choice: "EncoderChoice",
    dimensions: int | None,
    output: Path,
    *,
    has_side: bool,
    overwrite: bool,
) -> tuple[int, dict[str, Any]]:
    """Write the unit rows of texts; return their number, and facts about the model."""
    from nestvec.collections.encoders import model_record
    from nestvec.collections.input_rows import read_texts_to_encode
    from nestvec.encode.encoder import check_texts
    from nestvec.encode.row_files import check_new_file, writer_of
    from nestvec.progress import bar

    # All this is refused before a model is opened, which for an embedding API sends the first text.
    writer_of(output)
    check_new_file(output, overwrite)
    corpus = read_texts_to_encode(source.data, source.columns, source.limit)
    check_texts(corpus.texts)
    encoder = choice.open(dimensions)
    prompts = encoder.info.prompts
    if prompts is not None and not has_side:
        note(
            f"the texts are encoded as documents, with the prompt {prompts.document!r} before "
            f"each; --side query puts {prompts.query!r}"
        )
    record = model_record(encoder, dimensions)
    rows = source.encode(corpus, output, encoder, record, bar)
    _store(rows, output, overwrite)
    if prompts is not None:
        record["side"] = source.side
    return len(rows.vectors), record


def _store(rows: InputRows, output: Path, overwrite: bool) -> None:
    """Put encoded rows into the file to write, and remove the file that they were encoded into."""
    from nestvec.encode.row_files import RowsInMemory, write_rows

    n, ids, encoded = len(rows.vectors), rows.ids, rows.encoded
    assert ids is not None and encoded is not None, "texts have ids, and were encoded into a file"
    if output.suffix == ".npy" and rows.is_whole_file:
        encoded.replace(output)
        return
    with_columns = suffix_of(output) in (".jsonl", ".ndjson", ".parquet")
    blank = [None] * n
    texts, metadata = (rows.texts, rows.metadata) if with_columns else (blank, blank)
    write_rows(
        RowsInMemory(rows.vectors, list(ids), texts or blank, metadata or blank),
        output,
        overwrite=False,
    )
    encoded.unlink()


def _encode_images(
    images: Path, part: str, model: Path, output: Path, overwrite: bool
) -> tuple[int, dict[str, Any]]:
    """Write the unit rows of images; return their number, and facts about the model."""
    import numpy as np

    from nestvec.encode.checkpoint import fingerprint
    from nestvec.encode.encoder import ModelInfo, unit_rows
    from nestvec.train.data.images import read_images
    from nestvec.train.models.image_model import ImageModel
    from nestvec.train.recipes.image import embed

    if output.suffix != ".npy" or (output.exists() and not overwrite):
        raise InputError(f"{output} is to be a new file that ends in .npy")
    opened = ImageModel.load(model)
    rows = unit_rows(embed(opened, read_images(images, part)), str(model))
    np.save(output, rows)
    return len(rows), ModelInfo(str(model), fingerprint(model), opened.dim).to_json()
