"""Search the segments of a snapshot and merge their hits."""
