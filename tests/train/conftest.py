"""Small data and models to train on, and a run that can be stopped."""

import random

import numpy as np
import pytest

pytest.importorskip("torch")

from nestvec.train.data.images import Images
from nestvec.train.data.pairs import Pairs


@pytest.fixture
def images():
    """Images of 8 × 8 pixels, 64 to train on and 24 held out: a bright column marks the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(88) % 4
    pixels = rng.integers(0, 80, (88, 8, 8, 1), dtype=np.uint8)
    pixels[np.arange(88), :, 2 * labels] += 150
    images = Images(pixels, labels, ("a", "b", "c", "d"))
    return images.select(np.arange(64)), images.select(np.arange(64, 88))


@pytest.fixture
def pairs():
    """Sentences of invented words, 80 to train on and 16 held out: a text repeats its query."""
    draw = random.Random(0)
    words = [a + b for a in "bdfgklmn" for b in ("al", "eo", "iu", "or")]

    def pair():
        query = draw.sample(words, 4)
        return " ".join(query), " ".join([*query[::-1], *draw.sample(words, 2)])

    queries, documents = zip(*(pair() for _ in range(96)), strict=True)
    pairs = Pairs.from_texts(queries, documents)
    return pairs.select(np.arange(80)), pairs.select(np.arange(80, 96))


@pytest.fixture
def stopped():
    """Run a training with a listener that stops it after a step, as Ctrl-C does."""

    def stop(train, after):
        def listen(event):
            if event.step == after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(listen)

    return stop


@pytest.fixture
def same_bits():
    """Compare the last checkpoints of two run folders bit by bit."""
    import torch

    def check(a, b):
        if isinstance(a, torch.Tensor):
            assert torch.equal(a, b)
        elif isinstance(a, dict):
            assert a.keys() == b.keys()
            for key in a:
                check(a[key], b[key])
        elif isinstance(a, list):
            assert len(a) == len(b)
            for items in zip(a, b, strict=True):
                check(*items)
        else:
            assert a == b

    def compare(*folders, parts=("task", "optimizer", "step", "history")):
        a, b = (torch.load(f / "checkpoint.pt", weights_only=True) for f in folders)
        check({part: a[part] for part in parts}, {part: b[part] for part in parts})

    return compare


@pytest.fixture
def model(tmp_path):
    """Two layers of 32 dimensions over whole words, untrained; the same in every test."""
    import torch

    pytest.importorskip("sentence_transformers", minversion="6.1")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    words = [f"w{i}" for i in range(60)]
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path)
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    return SentenceTransformer(modules=[Transformer(str(tmp_path)), Pooling(32)], device="cpu")
