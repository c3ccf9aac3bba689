"""JSON of files and servers: parsed, with one kind of error for all that is wrong with it."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON text; `ValueError` also where it is nested deeper than Python can parse."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
