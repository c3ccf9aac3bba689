"""Collections: an index together with the encoder of its texts."""

from nestvec.collections.text_index import TextIndex

__all__ = ["TextIndex"]
