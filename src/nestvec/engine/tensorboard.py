"""Logs for TensorBoard."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nestvec.engine.loop import Listener, Moment
from nestvec.extras import require


@contextmanager
def board(folder: Path) -> Iterator[Listener]:
    """A listener that writes training loss, learning rate and the held-out metric at each size.

    A run that is taken up again goes on in the same curves: what an earlier process logged after
    the checkpoint is replaced.
    """
    writers: list[Any] = []

    def listen(moment: Moment) -> None:
        if not writers:
            library = require("tensorboardX", "train")
            writers.append(library.SummaryWriter(str(folder), purge_step=moment.step))
        (writer,) = writers
        writer.add_scalar("train/loss", moment.loss, moment.step)
        writer.add_scalar("train/learning_rate", moment.rate, moment.step)
        if moment.evaluation:
            for size, score in moment.evaluation.scores.items():
                writer.add_scalar(f"held_out/{size}", score, moment.step)

    try:
        yield listen
    finally:
        for writer in writers:
            writer.close()
