"""Folders of the documentation site."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src"
STAGED = ROOT / "build" / "docs"
"""What the generator reads: the pages of `DOCS`, and those that are generated."""
SITE = ROOT / "build" / "site"
EXTERNAL_LINKS = ROOT / "build" / "external-links.txt"
