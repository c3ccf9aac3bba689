"""Build the documentation site, or serve it while its pages are written."""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from scripts.site.links import check
from scripts.site.paths import DOCS, EXTERNAL_LINKS, ROOT, SITE
from scripts.site.stage import stage, stage_page

GENERATOR = [sys.executable, "-m", "zensical"]
SECONDS_BETWEEN_LOOKS = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.site", description=__doc__)
    parser.add_argument("action", nargs="?", choices=["build", "serve"], default="build")
    {"build": build, "serve": serve}[parser.parse_args().action]()


def build() -> None:
    """Build with warnings as errors, then check every link and load of what was built."""
    stage()
    shutil.rmtree(SITE, ignore_errors=True)
    if code := subprocess.run([*GENERATOR, "build", "--clean", "--strict"], cwd=ROOT).returncode:
        sys.exit(code)
    report = check(SITE)
    EXTERNAL_LINKS.write_text(
        "".join(f"{link}\t{', '.join(pages)}\n" for link, pages in report.external.items()),
        encoding="utf-8",
    )
    place = EXTERNAL_LINKS.relative_to(ROOT)
    print(f"{len(report.external)} links to other sites, not followed, are listed in {place}")
    if report.problems:
        sys.exit("\n".join(report.problems))
    print(f"the site is in {SITE.relative_to(ROOT)}")


def serve() -> None:
    """Serve the site on http://localhost:8000, and stage pages again as they change."""
    stage()
    with subprocess.Popen([*GENERATOR, "serve"], cwd=ROOT) as server:
        try:
            seen = _times()
            while server.poll() is None:
                time.sleep(SECONDS_BETWEEN_LOOKS)
                now = _times()
                for page in (page for page in now if now[page] != seen.get(page)):
                    stage_page(page)
                seen = now
        except KeyboardInterrupt:
            server.terminate()


def _times() -> dict[Path, float]:
    return {path: path.stat().st_mtime for path in DOCS.rglob("*") if path.is_file()}


if __name__ == "__main__":
    main()
