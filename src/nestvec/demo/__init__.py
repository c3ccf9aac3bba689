"""A corpus with questions and judgements, small enough to ship, and what it can show."""

from nestvec.demo.report import DemoReport, Result
from nestvec.demo.run import run

__all__ = ["DemoReport", "Result", "run"]
