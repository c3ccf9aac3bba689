"""Frozen maps of vectors that need NumPy alone; `nestvec.adapt` has the classes that fit them."""
