"""Folders of input: shards of one file, and data sets of Lance."""

from pathlib import Path

from nestvec.errors import DataError

_BESIDE_SHARDS = ("dataset_info.json", "state.json", "readme.md", "license", "license.txt")
"""Files that describe a data set, as Hugging Face and others write them beside its shards."""
_RETRIEVAL_SET = ("corpus.jsonl", "queries.jsonl")
_SHOWN = 3
"""Names that a message lists."""


def is_lance(folder: Path) -> bool:
    """Tell whether a folder is a data set of Lance: it has versions, and data by their side."""
    return (folder / "_versions").is_dir()


def has_folders(path: Path) -> bool:
    """Tell whether a path is a folder of folders, as images by class are, and not of shards."""
    is_folder = path.is_dir() and not is_lance(path)
    return is_folder and any(e.is_dir() and not is_lance(e) for e in _entries(path))


def data_files(path: Path) -> list[Path]:
    """List what holds the rows of an input: the file itself, or the shards of a folder by name.

    A data set of Lance counts as one file, also as the only table in a folder of LanceDB. Hidden
    files, those that begin with `_`, and descriptions of a data set are left out. `DataError` for
    a folder without shards, and for one whose rows may not belong together: with folders inside, or
    of a BEIR retrieval set.
    """
    if not path.is_dir() or is_lance(path):
        return [path]
    entries = _entries(path)
    tables = [entry for entry in entries if entry.is_dir() and is_lance(entry)]
    if len(tables) == 1 and len(entries) == 1:
        return tables
    folders = [entry for entry in entries if entry.is_dir()]
    if folders:
        kind = "tables" if tables else "folders"
        raise DataError(f"{path} holds {kind}, {_listed(folders)}; name the one to read")
    shards = [entry for entry in entries if entry.name.lower() not in _BESIDE_SHARDS]
    if not shards:
        raise DataError(f"{path} holds no files of texts or vectors; check the path")
    names = {entry.name.removesuffix(".gz") for entry in shards}
    if names.issuperset(_RETRIEVAL_SET):
        raise DataError(f"{path} is a retrieval set; name its {' or '.join(_RETRIEVAL_SET)}")
    return shards


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "_")))


def place_in(path: Path, shard: Path, place: str) -> str:
    """Name a place in an input for a message: in a folder also by its shard."""
    return place if shard == path else f"{shard.name}, {place}"


def _listed(paths: list[Path]) -> str:
    names = ", ".join(repr(path.name) for path in paths[:_SHOWN])
    return names if len(paths) <= _SHOWN else f"{names} and {len(paths) - _SHOWN} more"
