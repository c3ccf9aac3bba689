"""Evaluate every prefix of a model at once."""
