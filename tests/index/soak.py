"""Reads an index while another process writes to it: `soak.py PATH SECONDS SEED`, as reader.

Row `i` holds the id `10 * i + version` of round `version`, and every generation that is committed
holds, of each id present, exactly the vector, text and metadata that follow from the id. A reader
whose answer mixes two generations sees a row count, an id or a text that no generation had.
"""

import json
import sys
import threading
import time

import numpy as np

from nestvec import Index
from nestvec.errors import StorageError

DIM = 8
EXACT = "probe=all; full"


def vectors(ids):
    """Whole numbers that follow from the ids: scores are exact."""
    ids = np.asarray(ids, np.int64)
    return ((ids[:, None] * (np.arange(DIM) * 2 + 7) + ids[:, None] // 11) % 19 - 9).astype(
        np.float32
    )


def check(index, rng):
    """One look at an index: everything must be of one generation, and right."""
    snapshot = index.snapshot
    ids = snapshot.ids()
    assert len(ids) == len(snapshot) == len(set(ids.tolist()))
    # Writers keep this: of each pair of ids 2i and 2i + 1 exactly one is there.
    assert (np.sort(ids // 2) == np.arange(len(ids))).all(), "a torn generation"
    assert (snapshot.vectors() == vectors(ids)).all()
    queries = rng.integers(-3, 4, (2, DIM)).astype(np.float32)
    one = Index(snapshot)  # what follows sees this generation whatever other threads do
    hits = one.search(queries, 10, plan=EXACT)
    scores = queries @ vectors(ids).T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    assert hits.ids.tolist() == ids[best].tolist(), "a wrong answer"
    assert (hits.scores == np.take_along_axis(scores, best, axis=1)).all()
    approximate = one.search(queries, 10)
    assert set(approximate.ids.ravel().tolist()) <= set(ids.tolist())
    try:
        documents = one.snapshot.documents(hits.rows[0])
    except StorageError as e:  # compacted away since
        assert "refresh()" in str(e) or "replaced" in str(e), e
    else:
        assert [d.text for d in documents] == [f"text {id_}" for id_ in hits.ids[0].tolist()]


def read(path, seconds, seed):
    """Search from four threads, sharing one index and opening others, until time is up."""
    shared = Index.open(path)
    shared.search(np.ones((1, DIM), np.float32), 1)  # compile first
    end = time.monotonic() + seconds
    errors, looks, generations = [], [0] * 4, set()

    def work(number):
        rng = np.random.default_rng([seed, number])
        try:
            while time.monotonic() < end and not errors:
                if number == 0:
                    shared.refresh()
                check(shared if number < 3 else Index.open(path), rng)
                generations.add(shared.generation)
                looks[number] += 1
        except BaseException as e:
            errors.append(f"{type(e).__name__}: {e}")
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"errors": errors, "looks": sum(looks), "generations": len(generations)}


if __name__ == "__main__":
    result = read(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(json.dumps(result))
    sys.exit(bool(result["errors"]))
