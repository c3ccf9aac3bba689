"""The command line."""

from nestvec.cli.app import main

__all__ = ["main"]
