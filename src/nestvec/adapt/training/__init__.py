"""The training of an adaptor with torch: its task, batches, network and losses."""
