"""Exact rankings of all documents for each query, in blocks."""
