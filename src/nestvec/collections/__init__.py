"""Collections: an index together with the encoder that made its vectors."""

from nestvec.collections.text_index import TextIndex

__all__ = ["TextIndex"]
