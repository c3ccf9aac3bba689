"""A retrieval set small enough to ship, and a measurement of what nested codes save on it."""

from nestvec.demo.report import DemoReport, Result
from nestvec.demo.runner import run_demo
from nestvec.deprecation import renamed_attributes

__all__ = ["DemoReport", "Result", "run_demo"]

__getattr__ = renamed_attributes(__name__, {"run": ("run_demo", run_demo)})
