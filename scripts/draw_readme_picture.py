"""Draw the picture of the README: the stages of a plan on the rectangle of dimensions × bits.

python scripts/draw_readme_picture.py [--check]
"""

import argparse
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from nestvec import Plan, Stage

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "plan.svg"
PLAN = Plan.parse("probe=400; 256x1:300 > 384x4:35 > full")
DIM, PLANES = 384, 4
"""Width of the vectors, and bit planes of their codes: those of the README's example."""

WIDTH, HEIGHT = 880, 330
MARGIN, STEP = 44, 284
"""From the left edge to the first panel, and from one panel to the next."""
BOX_WIDTH, PLANE_HEIGHT, CODES_TOP, FULL_TOP, FULL_HEIGHT = 216, 18, 56, 136, 84
FUNNEL = ((216, "the rows of 400 cells"), (110, "300 rows"), (30, "35 rows"))
"""Length of the bar of each stage, not to scale, and the rows that it reads."""
TEXT, LINE, READ, ROWS = "#737b85", "#8b949e", "#2f6fdb", "#c2571a"
"""Colours of middle lightness, which are legible on a white page and on a dark one."""


def main() -> None:
    """Write the picture, or check that the one in docs/ is this one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail if the picture is another one")
    svg = draw()
    if parser.parse_args().check:
        same = PICTURE.exists() and PICTURE.read_text(encoding="utf-8") == svg
        sys.exit(None if same else f"{PICTURE} is old; run scripts/draw_readme_picture.py")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg, encoding="utf-8")


def draw() -> str:
    """Return the picture as SVG."""
    label = f"The plan {PLAN}: each stage reads more of fewer rows"
    panels = [panel(number, stage) for number, stage in enumerate((*PLAN.stages, None))]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'font-family="system-ui, sans-serif" font-size="14">',
            f"<title>{escape(label)}</title>",
            *(line for lines in panels for line in lines),
            "</svg>\n",
        ]
    )


def panel(number: int, stage: Stage | None) -> list[str]:
    """Draw one stage (None: the full vectors): what it reads of a row, and of how many rows."""
    left = MARGIN + number * STEP
    bar, rows = FUNNEL[number]
    if stage:
        title = f"{stage.dims} dims × {stage.bits} bit{'s' * (stage.bits > 1)}"
        size = BOX_WIDTH * stage.dims // DIM, stage.bits * PLANE_HEIGHT
        read = rectangle(left, CODES_TOP, *size, READ)
    else:
        title = "full vectors"
        read = rectangle(left, FULL_TOP, BOX_WIDTH, FULL_HEIGHT, READ)
    lines = [
        text(left, 22, f"{number + 1}. {title}", size=17, bold=True),
        read,
        *outline(left),
        rectangle(left, 262, bar, 20, ROWS),
        text(left, 303, f"reads {rows}"),
        text(left, 322, f"keeps {stage.keep}" if stage else "answers with the best 10"),
    ]
    if number == 0:
        lines += axes(left)
    else:
        lines.append(arrow(left - 48, 272))
    return lines


def outline(left: int) -> list[str]:
    """Draw what is stored of a row: bit planes of its code, and its full-precision vector."""
    planes = [
        rectangle(left, CODES_TOP + plane * PLANE_HEIGHT, BOX_WIDTH, PLANE_HEIGHT)
        for plane in range(PLANES)
    ]
    return [*planes, rectangle(left, FULL_TOP, BOX_WIDTH, FULL_HEIGHT)]


def axes(left: int) -> list[str]:
    """Name the two directions of the rectangle, and its two parts."""
    middle = CODES_TOP + PLANES * PLANE_HEIGHT // 2
    return [
        text(left, 48, "dimensions →", size=13),
        f'<text transform="translate({left - 10} {middle}) rotate(90)" text-anchor="middle" '
        f'fill="{TEXT}" font-size="13">bits →</text>',
        text(left + 8, FULL_TOP + FULL_HEIGHT // 2 + 4, "full precision, 32 bits", size=13),
    ]


def rectangle(x: int, y: int, width: int, height: int, fill: str | None = None) -> str:
    """Draw a filled rectangle, or an outline."""
    paint = f'fill="{fill}"' if fill else f'fill="none" stroke="{LINE}"'
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" {paint}/>'


def text(x: int, y: int, words: str, size: int = 14, bold: bool = False) -> str:
    """Write words that begin at a place."""
    weight = ' font-weight="600"' if bold else ""
    place = f'x="{x}" y="{y}" fill="{TEXT}" font-size="{size}"{weight}'
    return f"<text {place}>{escape(words)}</text>"


def arrow(x: int, y: int) -> str:
    """Draw an arrow from one stage's rows to those of the next."""
    return (
        f'<path d="M{x} {y} h30 m-8 -6 l8 6 l-8 6" fill="none" stroke="{LINE}" stroke-width="2"/>'
    )


if __name__ == "__main__":
    main()
