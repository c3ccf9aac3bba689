"""`nestvec encode`: texts to a file of vectors."""

import time
from pathlib import Path
from typing import Annotated

import typer

from nestvec.cli import options
from nestvec.cli.output import print_facts, print_json, size


def encode(
    texts: Annotated[
        Path, typer.Argument(help="Texts: .jsonl, .tsv, .csv or .txt, each also as .gz.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .npy file to write.")],
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="minilm, a name or folder, or openai:MODEL.")
    ] = "minilm",
    dimensions: options.Dimensions = None,
    base_url: options.BaseUrl = None,
    text_column: options.TextColumn = None,
    limit: options.Limit = None,
    json: options.Json = False,
) -> None:
    """Encode a file of texts into unit vectors, one row per text.

    Stopped in the middle, the same command goes on where it was.

    Examples:
      nestvec encode corpus.jsonl -o corpus.npy
      nestvec encode papers.csv -o papers.npy --text-column abstract
      nestvec encode corpus.jsonl -o corpus.npy --model openai:NAME
    """
    from nestvec.cli.model import describe, open_model
    from nestvec.data import read_texts
    from nestvec.encode import encode_to_file
    from nestvec.progress import bar

    corpus = read_texts(texts, text_column or None, limit=limit)
    encoder = open_model(model, base_url, dimensions)
    start = time.perf_counter()
    encode_to_file(encoder, corpus.texts, output, progress=bar)
    facts = {
        "output": output,
        "rows": len(corpus),
        "dim": encoder.info.dim,
        "size_bytes": output.stat().st_size,
        "seconds": round(time.perf_counter() - start, 3),
        "model": describe(encoder, dimensions),
    }
    if json:
        print_json(facts)
        return
    print_facts(
        {
            "vectors": f"{output}, {facts['rows']:,} rows of {facts['dim']} dims as float32",
            "size": size(output.stat().st_size),
            "model": f"{encoder.info.name} ({encoder.info.revision or 'revision unknown'})",
            "time": f"{facts['seconds']:,.1f} s",
        }
    )
