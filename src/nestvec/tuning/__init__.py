"""Tune a search plan to a target with a statistical guarantee, and check it for drift."""

from nestvec.deprecation import renamed_attributes
from nestvec.tuning.api import check_drift, tune

__all__ = ["check_drift", "tune"]

__getattr__ = renamed_attributes(__name__, {"check": ("check_drift", check_drift)})
