"""Filters over id, text and metadata: syntax tree, parser, evaluation, and SQL."""
