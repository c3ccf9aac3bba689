"""Measures of a variant against the baseline: one value per query, then an estimate."""
