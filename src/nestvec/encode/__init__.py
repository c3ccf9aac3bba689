"""Texts to vectors: models on this machine, embedding APIs, and vectors computed before."""

from nestvec.encode.encoder import Encoder, ModelInfo
from nestvec.encode.files import VectorFile
from nestvec.encode.openai import Limits, OpenAIEncoder
from nestvec.encode.registry import open_encoder
from nestvec.encode.retry import Retry
from nestvec.encode.sentence_transformers import SentenceTransformerEncoder
from nestvec.encode.vector_files import read_vectors
from nestvec.encode.writer import encode_to_file

__all__ = [
    "Encoder",
    "Limits",
    "ModelInfo",
    "OpenAIEncoder",
    "Retry",
    "SentenceTransformerEncoder",
    "VectorFile",
    "encode_to_file",
    "open_encoder",
    "read_vectors",
]
