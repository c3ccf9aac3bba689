"""Approximate and exact search against its peers; see docs/reference/benchmarks.md."""
