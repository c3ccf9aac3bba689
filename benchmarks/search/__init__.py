"""Approximate and exact search against its peers; see docs/benchmarks.md."""
