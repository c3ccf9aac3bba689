"""Replies of embedding APIs as files keep them, taken apart into one record per vector."""

from collections.abc import Iterator
from typing import Any

from nestvec.errors import DataError


def expand(place: str, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The vectors of a reply as records, in the order of their `index`; any other record as it is.

    A line of OpenAI's batch output has a `custom_id`, which becomes the id of its vector; that of
    a request with several texts gets `:0`, `:1`, … behind it. `DataError` for a failed request.
    """
    reply = record.get("response")
    if "custom_id" not in record or not ("error" in record or isinstance(reply, dict)):
        yield from _entries(record)
        return
    body = reply.get("body") if isinstance(reply, dict) else None
    if record.get("error") or not isinstance(body, dict) or "error" in body:
        raise DataError(
            f"{place} says that request {record['custom_id']!r} failed, so it has no vector; send "
            "it again, or leave out that line"
        )
    entries = list(_entries(body))
    for number, entry in enumerate(entries):
        name = record["custom_id"]
        yield {"id": name if len(entries) == 1 else f"{name}:{number}", **entry}


def _entries(reply: dict[str, Any]) -> Iterator[dict[str, Any]]:
    data = reply.get("data")
    is_reply = isinstance(data, list) and all(
        isinstance(entry, dict) and "embedding" in entry for entry in data
    )
    if not is_reply or not data:
        yield reply
        return
    assert isinstance(data, list), "a reply has a list of entries"
    places = [entry.get("index", place) for place, entry in enumerate(data)]
    if all(type(place) is int for place in places):
        data = [data[i] for i in sorted(range(len(data)), key=places.__getitem__)]
    for entry in data:
        yield {"embedding": entry["embedding"]}
