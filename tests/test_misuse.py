"""Arguments of wrong types: an error of nestvec's own, which says what to pass.

The calls run in another process, because the checks of types in tests would answer first.
"""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import numpy as np
import nestvec as nv

vectors = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32)
folder = sys.argv[1]
index = nv.Index.build(vectors, f"{folder}/a.nv", ids=[f"d{n}" for n in range(30)])
calls = {
    "a text as a query": lambda: index.search("text", k=3),
    "None as a query": lambda: index.search(None, k=3),
    "queries of another width": lambda: index.search(vectors[:, :5], k=3),
    "k that is a text": lambda: index.search(vectors, k="3"),
    "k that is a boolean": lambda: index.search(vectors, k=True),
    "k that is a fraction": lambda: index.search(vectors, k=3.0),
    "a mapping as a filter": lambda: index.search(vectors, k=3, where={"n": 1}),
    "a number as a filter to delete by": lambda: index.delete(where=5),
    "a number as a plan": lambda: index.search(vectors, k=3, plan=5),
    "a text as dims": lambda: index.search(vectors, k=3, dims="64"),
    "a number as the name of a model": lambda: nv.open_encoder(3),
    "a number as the id of text ids": lambda: index.get([5]),
    "None as an id": lambda: index.delete(None),
    "a text as texts": lambda: nv.Index.build(vectors, f"{folder}/b.nv", texts="text"),
    "numbers as texts": lambda: nv.Index.build(vectors, f"{folder}/b.nv", texts=range(30)),
    "a list as metadata of a row": lambda: nv.Index.build(
        vectors, f"{folder}/b.nv", metadata=[[1]] * 30
    ),
    "a record of columns that is none": lambda: nv.Index.build(
        vectors, f"{folder}/b.nv", columns={"text": "x"}
    ),
    "an unknown option": lambda: nv.Index.build(vectors, f"{folder}/b.nv", column=3),
    "a list of floats as a table": lambda: nv.Index.from_table([1.0], f"{folder}/b.nv"),
    "a text as a file to export to": lambda: index.export(f"{folder}/x.docx"),
    "a target above 1": lambda: nv.tune(index, vectors[:5], recall=2),
    "one text as a corpus of texts": lambda: nv.TextIndex.build("text", f"{folder}/t.nv"),
}
found = {}
for name, call in calls.items():
    try:
        call()
    except Exception as e:
        found[name] = [isinstance(e, nv.errors.InputError), type(e).__name__, str(e)]
    else:
        found[name] = [False, "no error", ""]
print(json.dumps(found))
"""


@pytest.mark.door("an argument of a wrong type", "an InputError that says what to pass")
def test_each_misuse_is_an_error_of_input(tmp_path):
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    wrong = {name: [kind, words] for name, (right, kind, words) in found.items() if not right}
    assert not wrong
