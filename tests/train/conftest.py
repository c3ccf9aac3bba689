"""A Sentence Transformers model small enough for any test."""

import pytest


@pytest.fixture
def model(tmp_path):
    """Two layers of 32 dimensions over whole words, untrained; the same in every test."""
    torch = pytest.importorskip("torch")
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
