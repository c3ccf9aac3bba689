"""Measures of a variant beside the baseline: one value per query, then an estimate."""
