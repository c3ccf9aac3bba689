"""Makes the golden index of the format that this checkout writes: `make.py FOLDER`.

    git worktree add /tmp/old COMMIT && PYTHONPATH=/tmp/old/src python tests/golden/make.py FOLDER

format_1.nv was made at d471bf3, the last commit that wrote format 1. A golden index is kept for
ever: later versions must answer from it what `expected.json` says. A folder named format_3… is
built with an adapter, which alone makes an index of format 3.
"""

import json
import sys
from pathlib import Path

import numpy as np

from nestvec import Index

ROWS, DIM = 300, 24


def vectors():
    """Small whole numbers, on which float32 is exact, made without a random generator."""
    numbers = np.arange(ROWS * DIM, dtype=np.int64)
    return ((numbers * 2654435761 % 2**32 >> 16) % 5 - 2).reshape(ROWS, DIM).astype(np.float32)


def names():
    return [f"é{row}" for row in range(ROWS)]


def swap():
    """An adapter that turns the dimensions round: whole numbers stay whole."""
    from nestvec import Rotation

    return Rotation(np.ascontiguousarray(np.eye(DIM, dtype=np.float32)[::-1]))


def build(folder, adapted=False):
    """With string ids, texts and metadata; where rows can be added and deleted, with both."""
    kept = ROWS - 20
    given = {"ids": names()[:kept], "texts": [f"text {row}" for row in range(kept)]}
    given["metadata"] = [{"row": row} for row in range(kept)]
    model = {"name": "golden", "revision": None, "dim": DIM}
    if not hasattr(Index, "add"):
        given = {"ids": names(), "texts": [f"text {row}" for row in range(ROWS)]}
        given["metadata"] = [{"row": row} for row in range(ROWS)]
        Index.build(vectors(), folder, seed=3, model=model, **given)
        return
    if adapted:
        given["adapter"] = swap()
    index = Index.build(vectors()[:kept], folder, seed=3, model=model, **given)
    index.add(
        vectors()[kept:],
        ids=names()[kept:],
        texts=[f"text {row}" for row in range(kept, ROWS)],
        metadata=[{"row": row} for row in range(kept, ROWS)],
    )
    index.delete(names()[100:110])
    (Path(folder) / "writer.lock").unlink()


def answers(gone):
    """What an exact search for the first five rows finds without the rows `gone`."""
    scores = vectors()[:5] @ vectors().T
    scores[:, gone] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    ids = [[names()[row] for row in line] for line in best.tolist()]
    return {"ids": ids, "scores": np.take_along_axis(scores, best, axis=1).tolist()}


if __name__ == "__main__":
    build(sys.argv[1], adapted="format_3" in sys.argv[1])
    left = answers(list(range(100, 110)))
    expected = {"format_1": answers([]), "format_2": left, "format_3": left}
    place = Path(__file__).with_name("expected.json")
    place.write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")
