"""Pages of the documentation cannot rot: each block of code and each command is run, or says why not."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))
SKIPPED: dict[str, int] = {}
"""Blocks that are not run, by page; each says why there. Keep it short."""


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_the_page_runs(page, run_page):
    pytest.importorskip("torch")
    assert len(run_page(ROOT / page).skipped) == SKIPPED.get(page, 0)
