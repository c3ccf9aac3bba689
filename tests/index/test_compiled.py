"""Whatever is done, each kernel is compiled for one set of types, once: compiling takes seconds."""

from nestvec import Index
from nestvec.kernels import compiled, load, load_exact, load_scoring

SIGNATURES = dict.fromkeys(compiled.__all__, 1) | {"pack": 3}
"""Sets of types of each kernel: `pack` packs the arrays, the plans and the bounds of segments."""


def test_no_operation_compiles_a_second_kernel(corpus, tmp_path):
    load()
    load_exact()
    load_scoring()
    vectors, queries = corpus
    metadata = [{"row": row} for row in range(len(vectors))]
    index = Index.build(vectors[:2700], tmp_path / "i.nv", metadata=metadata[:2700])
    index.add(vectors[2700:2800], metadata=metadata[2700:2800])  # flat, beside the coded ones
    index.add(vectors[2800:], metadata=metadata[2800:])
    index.delete([3, 2750])
    index.update(vectors[:2], ids=[7, 2900])
    for where in (None, "row < 5", "row < 2600", "row < 0"):  # scored in full, and by the plan
        ask_in_every_way(index, queries, where)
    index.compact()
    ask_in_every_way(Index.open(index.path, verify=True), queries, None)
    for metric in ("cosine", "euclidean"):
        other = Index.build(vectors, tmp_path / metric, metric=metric, rotation="none", bits=1.0)
        ask_in_every_way(other, queries, None)
    for name, count in SIGNATURES.items():
        assert len(getattr(compiled, name).signatures) == count, name


def ask_in_every_way(index, queries, where):
    """By plans of all forms, exactly and certified, with queries in all forms."""
    frozen = queries.copy()
    frozen.flags.writeable = False
    for form in (queries, frozen, queries[:, ::-1], queries[::2]):
        index.search(form, 5, where=where, threads=2)
    for plan in ("probe=2; full", "probe=all; 64x1:50", "probe=4; 64x1:90 > 100x4:20 > full"):
        index.search(queries, 5, plan=plan, where=where)
    index.search(queries, 5, exact=True, where=where)
    index.search(queries, 5, certify=True, where=where)


def test_what_is_mapped_is_read_only(index):
    (part,) = index.snapshot.parts
    assert not any(array.flags.writeable for array in (index.vectors, *part.coded.cells))
