"""The training engine: one loop, with evaluations, checkpoints and reproducible randomness.

`task` defines what it can train, and is the place to begin reading.
"""
