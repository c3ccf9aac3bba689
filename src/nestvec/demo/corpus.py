"""The corpus that ships with nestvec; `arxiv/README.md` tells its source, licence and making."""

from importlib.resources import as_file, files

from nestvec.data import RetrievalSet, read_retrieval_set


def load() -> RetrievalSet:
    """arXiv abstracts as documents and titles as queries, one relevant abstract per title."""
    with as_file(files("nestvec.demo") / "arxiv") as folder:
        return read_retrieval_set(folder)
