"""The training engine: one loop with evaluations, a schedule, checkpoints and reproducible randomness."""
