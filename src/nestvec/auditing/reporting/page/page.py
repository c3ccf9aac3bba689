"""One HTML file from a report: no network, no server, readable while there are browsers."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from nestvec.auditing.reporting.page import figures
from nestvec.auditing.reporting.page.rows import read_rows
from nestvec.auditing.reporting.page.sections import build_sections
from nestvec.auditing.reporting.page.summary import summarise
from nestvec.errors import StorageError
from nestvec.extras import require


def save_html(report: Mapping[str, Any], path: str | Path) -> None:
    """Write the page of a report (`Report.to_json()`) to `path`; an older file is replaced."""
    page = render(report)
    try:
        Path(path).write_text(page, encoding="utf-8")
    except OSError as e:
        raise StorageError(
            f"cannot write {path} ({e.strerror}); choose a folder you may write to"
        ) from None


def render(report: Mapping[str, Any]) -> str:
    """The page. Every text of the report is escaped: ids and texts may hold any character."""
    environment = require("jinja2", "audit").Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    rows = read_rows(report)
    page: str = environment.from_string(_own("page.html")).render(
        css=_own("page.css"),
        js=_own("page.js"),
        vega=_vega(),
        made=figures.moment(report.get("made")),
        summary=summarise(report, rows),
        sections=build_sections(report, rows),
    )
    return page


def _own(name: str) -> str:
    return files("nestvec.auditing.reporting.page").joinpath(name).read_text(encoding="utf-8")


def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which puts `vegaEmbed` on the window."""
    script: str = require("vl_convert", "audit").javascript_bundle()
    # HTML would end or begin something there; to a string or a pattern `\/` and `\!` are the same.
    return script.replace("</script", r"<\/script").replace("<!--", r"<\!--")
