"""Many threads of many processes search while one process writes: no torn answers.

Seen to fail by hand on broken builds: docs/explanation/decisions/0013.
"""

import json
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np

from nestvec import Index

SCRIPT = Path(__file__).with_name("soak.py")


def script():
    spec = spec_from_file_location("soak", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def given(ids):
    return {"ids": ids, "texts": [f"text {id_}" for id_ in ids]}


def test_searches_see_whole_generations_while_another_process_writes(tmp_path, soak):
    seconds, vectors = 300 if soak else 6, script().vectors
    path = tmp_path / "i.nv"
    rng = np.random.default_rng(1)
    ids = [2 * i for i in range(600)]
    index = Index.build(vectors(ids), path, **given(ids))
    command = [sys.executable, str(SCRIPT), str(path), str(seconds)]
    readers = [
        subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for seed in range(3 if soak else 2)
    ]
    commits = 0
    while any(reader.poll() is None for reader in readers):
        kind = rng.choice(["add", "swap", "swap", "swap", "compact", "build"])
        if kind == "add":  # a new pair, at the end
            new = [2 * len(ids) + int(rng.integers(2))]
            index.add(vectors(new), **given(new))
            ids += new
        elif kind == "swap":  # one of some pairs for the other: gone and come in one commit
            chosen = rng.choice(len(ids), 20, replace=False).tolist()
            swap(index, ids, chosen, vectors)
        elif kind == "compact":
            index.compact()
        else:
            Index.build(vectors(ids), path, **given(ids), overwrite=True)
            index = Index.open(path)
        commits += 1
        time.sleep(0.002)
    for reader in readers:
        out, err = reader.communicate()
        assert reader.returncode == 0, (out.decode(), err.decode())
        result = json.loads(out)
        assert result["looks"] > 4
        assert result["generations"] > 1
    assert commits > 5
    assert sorted(Index.open(path, verify=True).ids.tolist()) == sorted(ids)


def swap(index, ids, chosen, vectors):
    """Replace the ids at some places by the other of their pair, in one commit."""
    from nestvec.index.writer import open_writer
    from nestvec.progress import silent

    old = [ids[place] for place in chosen]
    new = [id_ ^ 1 for id_ in old]
    texts = [f"text {id_}" for id_ in new]
    with open_writer(index.snapshot, "swap", silent) as writer:
        writer.replace(np.array(old), np.array(new), vectors(new), (texts, None))
    index.refresh()
    for place, id_ in zip(chosen, new, strict=True):
        ids[place] = id_
