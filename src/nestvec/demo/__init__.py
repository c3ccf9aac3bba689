"""A corpus with questions and judgements, small enough to ship, and what it can show."""
