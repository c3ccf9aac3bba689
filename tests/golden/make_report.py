"""Makes the golden report of schema 1: `make_report.py FILE`.

    git worktree add OLD COMMIT && PYTHONPATH=OLD/src python tests/golden/make_report.py FILE

`report_1.json` was made at 91f911f, the last commit that wrote schema 1. It is kept for ever: later
versions must read from it what they find by an audit of the same data.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np

WIDTH = 32
WORDS = ("amber", "birch", "cedar", "delta", "ember", "flint", "grove", "haven")
TEXTS = [
    f"The {first} of the {second} is number {7 * i + 3 * j} in May"
    for i, first in enumerate(WORDS)
    for j, second in enumerate(WORDS)
]
QUERIES = [text.split(" in ")[0] for text in TEXTS]
QRELS = {row: {row: 1} for row in range(len(TEXTS))}
IS_LATE = np.arange(len(TEXTS)) >= len(TEXTS) // 2
LABELS = IS_LATE.astype(int)
SEED = 5


class BagOfWords:
    """An encoder that adds up a fixed random vector per word."""

    info = None

    def encode(self, items, progress=None):
        vectors = np.array([self._sum(text) for text in items])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def _sum(self, text):
        return sum(self._word(word) for word in re.findall(r"\w+", text))

    def _word(self, word):
        rng = np.random.default_rng([*word.encode()])
        return rng.standard_normal(WIDTH) / np.arange(1, WIDTH + 1) ** 0.5


def main(path):
    from nestvec.audit import Stress, Texts, audit

    encoder = BagOfWords()
    queries = encoder.encode(QUERIES)
    report = audit(
        encoder.encode(TEXTS),
        queries,
        QRELS,
        variants=[
            {"dims": 32},
            {"dims": 8, "rotation": "random", "control": "as many bytes as 8 dims"},
            {"dims": 8, "bits": 4, "rotation": "pca", "side": "documents"},
            {"dims": 4, "bits": 1, "rescore": 12},
        ],
        texts=Texts(TEXTS, QUERIES, encoder),
        stress=Stress(
            slices={"late": IS_LATE},
            noisy={"noisy": queries[:, ::-1]},
            strangers={"strange": queries[:30, ::-1]},
            labels=LABELS,
        ),
        seed=SEED,
    )
    Path(path).write_text(json.dumps(short(report.to_json()), allow_nan=False) + "\n")


def short(value):
    """The same with six significant digits: intervals may differ in the last on other machines."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: short(part) for name, part in value.items()}
    return [short(part) for part in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main(sys.argv[1])
