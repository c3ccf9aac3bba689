"""A user's script that touches every public name; type checkers must find nothing in it.

It is checked, not run: tests/typing/test_user_script.py.
"""

from pathlib import Path

import numpy as np
import torch

import nestvec as nv


def search(path: Path) -> list[str]:
    """Build, search and change an index of vectors."""
    rng = np.random.default_rng(0)
    vectors = nv.truncate(rng.standard_normal((1_000, 64)).astype(np.float32), 32)
    rotation: nv.Transform = nv.Rotation.fit(vectors)
    index = nv.Index.build(
        vectors, path, metadata=[{"year": 2015}] * 1_000, transform=rotation, bits=2.0, seed=1
    )
    plan = nv.Plan(probe=4, stages=(nv.Stage(32, 1, 100),))
    hits: nv.Hits = index.search(vectors[:3], k=5, plan=plan, where="year >= 2015")
    exact = index.search(vectors[:3], k=5, exact=True)
    assert exact.certified.all()
    best: nv.Hit = hits[0][0]
    documents: list[nv.Document | None] = index.get(hits.ids[0])
    index.add(vectors[:2], ids=[2_000, 2_001])
    index.upsert(vectors[:1], ids=[2_000])
    index.update(vectors[:1], ids=[2_001])
    index.delete(2_000)
    index.compact()
    store: nv.VectorStore = index
    writable: nv.WritableVectorStore = index
    names = [str(hit.id) for of_query in hits for hit in of_query]
    frame = hits.to_pandas()
    print(frame, best.score, best.row, len(documents), len(store), writable.dim, index.path)
    return names


def texts(path: Path) -> nv.Hits:
    """Build and search an index of texts."""
    index = nv.TextIndex.build(["red apple", "green car"], path, model="minilm")
    encoder = nv.open_encoder("minilm")
    print(encoder.info.name, encoder.encode(["a text"]).shape)
    return index.search("a fruit", k=1)


def measure(index: nv.Index, queries: np.ndarray) -> None:
    """Audit vectors, and tune a plan with a guarantee."""
    report: nv.AuditReport = nv.audit(index, queries, variants=[{"dims": 32}])
    report.save_html("report.html")
    report.save_json("report.json")
    report.save_junit("report.xml")
    print(report)
    tuned: nv.TunedPlan = nv.tune(index, queries, recall=0.95)
    if tuned.plan is not None:
        tuned.save(index)
    print(tuned.verdict, nv.check_drift(index, queries).verdict)


def learn(vectors: np.ndarray, labels: np.ndarray) -> torch.Tensor:
    """Adapt, classify and train."""
    try:
        adaptor = nv.MatryoshkaAdaptor.fit(vectors, dims=[16, 32])
        print(adaptor.transform(vectors).shape, adaptor.transform_queries(vectors[:1]).shape)
    except nv.NestvecError as error:
        print(error)
    cascade = nv.Cascade.fit(vectors, labels, dims=[16, 32], alpha=0.02)
    print(cascade.predict(vectors[:3]).labels)
    head = nv.NestedHead([8, 16, 32], 4)
    a, b = torch.randn(2, 8, 32)
    print(head(a))
    return nv.losses.nested_info_nce(a, b, dims=[8, 16, 32])
