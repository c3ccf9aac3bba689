"""Check what a caller passes to an audit, and bring it to arrays and row numbers."""
