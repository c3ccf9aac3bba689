"""The documentation cannot rot: each block of code and each command is run, or says why not."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))
SKIPPED = {
    "docs/how-to/adapting.md": 3,
    "docs/how-to/audit.md": 1,
    "docs/how-to/classify.md": 1,
    "docs/how-to/encode.md": 1,
    "docs/how-to/losses.md": 1,
    "docs/how-to/training.md": 2,
}
"""Blocks that are not run, by page; each says why there. Keep it short."""


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_the_page_runs(page, run_page):
    pytest.importorskip("torch")
    assert len(run_page(ROOT / page).skipped) == SKIPPED.get(page, 0)
