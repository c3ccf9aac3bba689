"""Storage of an index: catalog, manifest, segment files, ids and the writer lock."""
