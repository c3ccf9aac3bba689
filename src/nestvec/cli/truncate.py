"""`nestvec truncate`: a file of vectors to one of their prefixes."""

import time
from pathlib import Path
from typing import Annotated

import typer

from nestvec.cli import options
from nestvec.cli.output import note, print_facts, print_json, short_path, size
from nestvec.errors import DataError, InputError


def truncate(
    vectors: Annotated[
        Path,
        typer.Argument(
            help="Vectors (.npy, .npz, .safetensors, .parquet, or a field of the records)."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .npy file to write.")],
    dims: Annotated[int, typer.Option(metavar="N", help="How many dimensions to keep.")],
    key: options.Key = None,
    json: options.Json = False,
) -> None:
    """Truncate vectors to their first dimensions, each row renormalised.

    This is for models that were trained nested (Matryoshka); nestvec audit says how much of any
    model's quality a prefix keeps.

    Examples:
      nestvec truncate corpus.npy -o corpus-256.npy --dims 256
    """
    from nestvec.encode import read_vectors
    from nestvec.encode.truncation import truncate_to_file

    start = time.perf_counter()
    if output.suffix != ".npy":
        raise InputError(f"{output} does not end in .npy, the format written; rename it")
    if output.exists():
        raise DataError(f"{output} exists already; remove it or choose another name")
    vector_file = read_vectors(vectors, key)
    if vector_file.ids is not None:
        note(f"the ids in {vectors} are not written to {output}, which holds vectors alone")
    truncate_to_file(vector_file.vectors, output, dims)
    n, width = vector_file.vectors.shape
    facts = {
        "output": output,
        "rows": n,
        "dims": dims,
        "input_dims": width,
        "size_bytes": output.stat().st_size,
        "duration_s": round(time.perf_counter() - start, 3),
    }
    if json:
        print_json(facts)
        return
    print_facts(
        {
            "vectors": f"{short_path(output)}, {n:,} rows of {dims} of {width} dims",
            "size": size(output.stat().st_size),
            "time": f"{facts['duration_s']:,.1f} s",
        }
    )
