"""Batches of texts for a server: halved where it refuses them, until a single text is to blame."""

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nestvec.encode.endpoint import RefusedTextsError
from nestvec.shapes import Float32

_logger = logging.getLogger(__name__)

Post = Callable[[list[str]], Float32[np.ndarray, "n dim"]]
"""Sends texts and returns their vectors; `RefusedTextsError` where the server refuses them."""

_SHORT_TEXT = "width"


class BatchSizer:
    """Sends texts in batches that a server takes, and remembers their size.

    A refused batch is sent again as two halves. Where the halves are taken, the batch was too
    large, and no later one is larger than they are. Where a single text is refused, the text is to
    blame, unless the server refuses a short text too: then the request itself is wrong.
    """

    def __init__(self, texts: int, name: str) -> None:
        self.max_texts = texts
        self._name = name
        self._works = False

    def confirm(self) -> None:
        """Note that the server has taken a short text."""
        self._works = True

    def send(self, texts: list[str], post: Post) -> list[np.ndarray | str]:
        """For each text its vector, or the words of the server that refused it."""
        if len(texts) > self.max_texts:
            pieces = split_evenly(texts, self.max_texts)
            return [result for piece in pieces for result in self.send(piece, post)]
        try:
            rows = post(texts)
        except RefusedTextsError as e:
            self._check_works(post, e)
            if len(texts) == 1:
                return [f"has no vector: {e.refusal}"]
        else:
            self._works = True
            return list(rows)
        middle = (len(texts) + 1) // 2
        results = [*self.send(texts[:middle], post), *self.send(texts[middle:], post)]
        if not any(isinstance(result, str) for result in results):
            self._remember(middle)
        return results

    def _check_works(self, post: Post, refusal: RefusedTextsError) -> None:
        """Raise the refusal if the server has taken no text yet, and does not take a short one."""
        if self._works:
            return
        try:
            post([_SHORT_TEXT])
        except RefusedTextsError:
            raise refusal from None
        self._works = True

    def _remember(self, texts: int) -> None:
        if texts < self.max_texts:
            self.max_texts = texts
            _logger.info("%s takes %d texts at a time", self._name, texts)


def split_evenly(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    """Split texts into lists of at most `most`."""
    for start in range(0, len(texts), most):
        yield list(texts[start : start + most])
