"""Compress vectors as a variant says: fewer dimensions, a rotation, fewer bits."""
