"""Logs for TensorBoard."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nestvec.engine.loop import Listener, StepEvent
from nestvec.extras import require


@contextmanager
def tensorboard_listener(folder: Path) -> Iterator[Listener]:
    """Make a listener that logs training loss, learning rate and the held-out scores.

    A resumed run continues the same curves: what an earlier process logged after the checkpoint is
    replaced.
    """
    writers: list[Any] = []

    def log(event: StepEvent) -> None:
        if not writers:
            library = require("tensorboardX", "train")
            writers.append(library.SummaryWriter(str(folder), purge_step=event.step))
        (writer,) = writers
        writer.add_scalar("train/loss", event.loss, event.step)
        writer.add_scalar("train/learning_rate", event.learning_rate, event.step)
        if event.evaluation:
            for dims, score in event.evaluation.scores.items():
                writer.add_scalar(f"held_out/{dims}", score, event.step)

    try:
        yield log
    finally:
        for writer in writers:
            writer.close()
