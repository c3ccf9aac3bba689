"""Texts that a model refuses, named by line and id of their file."""

import logging
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from nestvec.data import Corpus
from nestvec.errors import BadTextError, DataError
from nestvec.inputs.records import read_records

_logger = logging.getLogger(__name__)

_MAX_NAMED = 5


def name_in_file(error: BadTextError, path: Path, corpus: Corpus) -> BadTextError:
    """The error with the lines and ids of the texts in their file."""
    if not error.reasons:
        return error
    return BadTextError(
        f"{path}: {_name_texts(error.reasons, path, corpus)}; mend the text or leave it out, or "
        "pass --on-bad-text skip or blank; the vectors before it are kept for the next run",
        error.reasons,
        error.rows,
    )


def tell_blanks(reasons: Mapping[int, str], path: Path, corpus: Corpus, *, skipped: bool) -> None:
    """Warn of texts without a vector, which were skipped or have a row of zeros."""
    if reasons:
        done = "skipped" if skipped else "given rows of zeros, which score 0 with every query"
        _logger.warning("%s: %s; %s", path, _name_texts(reasons, path, corpus), done)


def _name_texts(reasons: Mapping[int, str], path: Path, corpus: Corpus) -> str:
    """Name the first few texts by place and id, each with its reason, and count the others."""
    places = _places(path, max(list(reasons)[:_MAX_NAMED]) + 1)
    named = [
        f"{places.get(row, f'row {row}')} (id {corpus.ids[row]!r}) {reason}"
        for row, reason in list(reasons.items())[:_MAX_NAMED]
    ]
    n_others = len(reasons) - len(named)
    return "; ".join(named) + (f"; and {n_others:,} more" if n_others else "")


def _places(path: Path, rows: int) -> dict[int, str]:
    """Place of each of the first rows in a file, such as "line 3"."""
    try:
        return {row: place for row, (place, _) in enumerate(islice(read_records(path), rows))}
    except DataError:
        return {}
