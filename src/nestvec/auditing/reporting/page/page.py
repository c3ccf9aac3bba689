"""Report page: one HTML file that needs no network, no server and no other file."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from nestvec.auditing.reporting.formatting import format_time
from nestvec.auditing.reporting.page.sections import build_sections
from nestvec.auditing.reporting.page.summary import summarise
from nestvec.auditing.reporting.page.variant_rows import read_variant_rows
from nestvec.errors import StorageError
from nestvec.extras import require


def save_html(report: Mapping[str, Any], path: str | Path) -> None:
    """Write the page of a report (`AuditReport.to_json()`) to `path`, over an older file.

    `StorageError` where the file cannot be written; `MissingExtraError` without the extra "audit".
    """
    page = render(report)
    try:
        Path(path).write_text(page, encoding="utf-8")
    except OSError as e:
        raise StorageError(
            f"cannot write {path} ({e.strerror}); choose a folder you may write to"
        ) from None


def render(report: Mapping[str, Any]) -> str:
    """Render the page of a report (`AuditReport.to_json()`), with every text escaped."""
    environment = require("jinja2", "audit").Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    rows = read_variant_rows(report)
    page: str = environment.from_string(_read_asset("page.html")).render(
        css=_read_asset("page.css"),
        js=_read_asset("page.js"),
        vega=_vega_script(),
        created_at=format_time(report.get("created_at")),
        summary=summarise(report, rows),
        sections=build_sections(report, rows),
    )
    return page


def _read_asset(name: str) -> str:
    return files("nestvec.auditing.reporting.page").joinpath(name).read_text(encoding="utf-8")


def _vega_script() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script that defines `vegaEmbed`."""
    script: str = require("vl_convert", "audit").javascript_bundle()
    # HTML would end or begin something there; to a string or a pattern `\/` and `\!` are the same.
    return script.replace("</script", r"<\/script").replace("<!--", r"<\!--")
