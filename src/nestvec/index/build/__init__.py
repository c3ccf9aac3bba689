"""Build coded segments: k-means cells, assignment, codes."""
