"""Plans of an index: the default rule, and the tuned plans that are stored with it."""
