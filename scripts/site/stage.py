"""The pages that the generator reads: those of docs/, the reference, and executed tutorials."""

import shutil
from pathlib import Path

from scripts.site import api, commands, doors, notebooks, transcripts
from scripts.site.paths import DOCS, ROOT, SOURCE, STAGED

TUTORIALS = "tutorials"


def stage() -> None:
    """Write all pages into `STAGED`, from nothing."""
    shutil.rmtree(STAGED, ignore_errors=True)
    shutil.copytree(DOCS, STAGED)
    reference = STAGED / "reference"
    (reference / "api").mkdir()
    (reference / "api" / ".nav.yml").write_text("title: API\n")
    for name, text in api.pages(SOURCE).items():
        (reference / "api" / name).write_text(text, encoding="utf-8")
    (reference / "command-line.md").write_text(commands.page(), encoding="utf-8")
    (reference / "inputs.md").write_text(doors.page(ROOT / "tests"), encoding="utf-8")
    (reference / "transcripts.md").write_text(transcripts.page(), encoding="utf-8")
    for page in tutorials():
        stage_page(page)


def stage_page(page: Path) -> None:
    """Write one page of `DOCS` again; a tutorial is executed."""
    target = STAGED / page.relative_to(DOCS)
    target.parent.mkdir(parents=True, exist_ok=True)
    if page not in tutorials():
        shutil.copyfile(page, target)
        return
    for name, content in notebooks.render(notebooks.execute(page), page.stem).items():
        (target.parent / name).write_bytes(content)


def tutorials() -> list[Path]:
    """Pages that are notebooks."""
    return [page for page in sorted((DOCS / TUTORIALS).glob("*.md")) if page.name != "index.md"]
