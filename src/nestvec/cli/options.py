"""Options that several commands share."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

BaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="For openai:MODEL, the address of the embedding API, such as "
        "http://localhost:8000/v1; else the one recorded with the model, or OPENAI_BASE_URL. "
        "The key is read from OPENAI_API_KEY.",
    ),
]

Dimensions = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="For openai:MODEL, ask for vectors of this width, and fail where they have another; "
        "--dims works with any model.",
    ),
]

EncodedDims = Annotated[
    int | None,
    typer.Option(
        "--dims",
        metavar="N",
        min=1,
        help="Truncate all vectors to their first N dimensions, renormalised. Requests to an "
        "embedding API name N.",
    ),
]

QueryPrompt = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Text to put before each query, in place of the model's own prompt; '' for none.",
    ),
]

DocumentPrompt = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Text to put before each document, in place of the model's own prompt; '' for none.",
    ),
]

BatchSize = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Texts in a batch, or in a request to an API (256)."),
]

Requests = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="For openai:MODEL, requests at a time; else 4."),
]

Revision = Annotated[
    str | None,
    typer.Option(metavar="COMMIT", help="Branch, tag or commit of a model of the hub."),
]

TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code", help="Run the code that the model brings with it, on this machine."
    ),
]

Header = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VARIABLE",
        help="For openai:MODEL, send a header with the value of an environment variable; "
        "repeatable.",
    ),
]


class OnBadTextOption(str, Enum):
    """Ways to treat a text that the model refuses."""

    fail = "fail"
    skip = "skip"
    blank = "blank"


OnBadText = Annotated[
    OnBadTextOption,
    typer.Option(
        help="A text that the model refuses, such as an empty or too long one, is an error, or has "
        "no row (skip), or a row of zeros (blank)."
    ),
]

TextColumn = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Column with the text; repeat to join several. Else the usual ones. Without --key "
        "the texts are encoded, though vectors stand beside them.",
    ),
]

IdColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Column with the ids. Else _id, id, or the row number."),
]

MetadataColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata-columns",
        metavar="NAME",
        help="Column to keep as metadata; repeat for several. Else all columns that are neither "
        "text, id nor vector.",
    ),
]

Key = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which array, column or field holds the vectors; outer.inner for a nested field. "
        "Vectors are read then, and no text is encoded.",
    ),
]

PackedBits = Annotated[
    bool,
    typer.Option(
        "--packed-bits",
        help="The vectors are bits, packed eight to a byte: binary or ubinary embeddings. They "
        "become +1 and −1.",
    ),
]

Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="Take the first N rows only.")]

IndexPath = Annotated[Path, typer.Argument(metavar="INDEX", help="A folder made by nestvec index.")]

Data = Annotated[
    Path,
    typer.Argument(
        help="Texts (.jsonl, .tsv, .csv, .txt, also .gz or .zst, .parquet, .arrow, .lance), which "
        "are encoded first, or vectors (.npy, .npz, .safetensors, a column, or a field of the "
        "records). A folder of such files is read as one."
    ),
]
Maker = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="minilm (the default for texts), a name or folder, or openai:MODEL. For vectors: "
        "the model that made them, so that search can encode texts.",
    ),
]
Texts = Annotated[
    Path | None, typer.Option(metavar="FILE", help="For vectors: their texts, row by row.")
]
