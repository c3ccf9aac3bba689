"""Fitted, frozen maps of vectors: rotations, linear maps, prefixes, and chains of them."""
