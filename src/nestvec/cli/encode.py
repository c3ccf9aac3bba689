"""`nestvec encode`: texts to a file of vectors."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestvec.cli import options
from nestvec.cli.output import print_facts, print_json, size
from nestvec.collections.input_rows import reject_unused
from nestvec.errors import InputError

if TYPE_CHECKING:
    from nestvec.data import Corpus


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
    dimensions: options.Dimensions = None,
    base_url: options.BaseUrl = None,
    text_column: options.TextColumn = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of images: train (the default), test, …"),
    ] = None,
    limit: options.Limit = None,
    json: options.Json = False,
) -> None:
    """Encode a file of texts into unit vectors, one row per text; or images.

    Stopped in the middle, the same command goes on where it was.

    Examples:
      nestvec encode corpus.jsonl -o corpus.npy
      nestvec encode papers.csv -o papers.npy --text-column abstract
      nestvec encode corpus.jsonl -o corpus.npy --model openai:NAME
      nestvec encode images.npz -o images.npy --model runs/images/model --part test
    """
    start = time.perf_counter()
    if texts.is_dir() or texts.suffix.lower() in (".npz", ".zip"):
        others = {"--text-column": text_column, "--limit": limit, "--base-url": base_url,
                  "--dimensions": dimensions}  # fmt: skip
        reject_unused(f"for the images in {texts}", others)
        rows, about = _encode_images(texts, part or "train", Path(model), output)
    else:
        from nestvec.collections.input_rows import read_texts_to_encode

        reject_unused("for texts; it is for images", {"--part": part})
        corpus = read_texts_to_encode(texts, text_column, limit=limit)
        rows, about = _encode_texts(corpus, model, base_url, dimensions, output)
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


def _encode_texts(
    corpus: "Corpus", model: str, base_url: str | None, dimensions: int | None, output: Path
) -> tuple[int, dict[str, Any]]:
    """Write the unit rows of texts; how many, and which model made them."""
    from nestvec.cli.model import open_model
    from nestvec.collections.encoders import model_record
    from nestvec.encode import encode_to_file
    from nestvec.progress import bar

    encoder = open_model(model, base_url, dimensions)
    encode_to_file(encoder, corpus.texts, output, progress=bar)
    return len(corpus), model_record(encoder, dimensions)


def _encode_images(
    images: Path, part: str, model: Path, output: Path
) -> tuple[int, dict[str, Any]]:
    """Write the unit rows of images; how many, and which model made them."""
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
