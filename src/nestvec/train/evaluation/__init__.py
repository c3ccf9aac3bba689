"""Evaluation of every prefix of a model from one encoding."""
