"""What a built site refers to: its own pages and anchors, other hosts, and what it loads."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADS = {
    "audio": "src", "embed": "src", "iframe": "src", "img": "src", "input": "src",
    "object": "data", "script": "src", "source": "src", "track": "src", "video": "src",
}  # fmt: skip
_LOADED_RELATIONS = frozenset(
    {"dns-prefetch", "icon", "manifest", "modulepreload", "preconnect", "prefetch", "preload"}
    | {"apple-touch-icon", "stylesheet"}
)
_STYLE_LOAD = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""", re.I)


@dataclass(frozen=True)
class Report:
    """Problems of a site, one sentence each, and the pages of others that it links to."""

    problems: list[str]
    external: dict[str, list[str]]
    """Pages that link there, by address."""


@dataclass
class _Page(HTMLParser):
    """Anchors, links and loads of one page."""

    anchors: set[str] = field(default_factory=lambda: {"", "top"})
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    in_style: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_data(self, data: str) -> None:
        if self.in_style:
            self.loads += _STYLE_LOAD.findall(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "style":
            self.in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.in_style = tag == "style"
        values = {name: value for name, value in attrs if value is not None}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and _LOADED_RELATIONS & set(values.get("rel", "").split()):
            self.loads.append(values.get("href", ""))
        if tag in _LOADS and _LOADS[tag] in values:
            self.loads.append(values[_LOADS[tag]])
        self.loads += [part.split()[0] for part in values.get("srcset", "").split(",") if part]
        self.loads += _STYLE_LOAD.findall(values.get("style", ""))


def check(site: Path) -> Report:
    """Follow every link and load of the HTML and CSS under `site`; nothing is fetched."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    problems: list[str] = []
    external: dict[str, list[str]] = {}
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        problems += [f"{name} {problem}" for problem in _page_problems(site, path, pages)]
        for link in page.links:
            if _is_external(link) and name not in external.setdefault(link, []):
                external[link].append(name)
    problems += _style_problems(site)
    return Report(problems, dict(sorted(external.items())))


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page


def _page_problems(site: Path, path: Path, pages: dict[Path, _Page]) -> Iterator[str]:
    for load in pages[path].loads:
        if _is_external(load):
            yield f"loads {load} from another host"
        elif not load.startswith("data:") and not _target(site, path, load).is_file():
            yield f"loads {load}, which is not in the site"
    for link in pages[path].links:
        parts = urlsplit(link)
        if _is_external(link) or parts.scheme in ("mailto", "data"):
            continue
        target = _target(site, path, link)
        if not target.is_file():
            yield f"links to {link}, which is not in the site"
        elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
            yield f"links to {link}, which has no such anchor"


def _style_problems(site: Path) -> Iterator[str]:
    for path in sorted(site.rglob("*.css")):
        for load in _STYLE_LOAD.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site).as_posix()} loads {load} from another host"


def _target(site: Path, page: Path, link: str) -> Path:
    """The file that a link of a page leads to."""
    place = unquote(urlsplit(link).path)
    base = site if place.startswith("/") else page.parent
    target = (base / place.lstrip("/")).resolve() if place else page
    return target / "index.html" if target.is_dir() else target


def _is_external(link: str) -> bool:
    return urlsplit(link).netloc != ""
