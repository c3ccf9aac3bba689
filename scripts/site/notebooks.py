"""Tutorials: pages of Markdown that are notebooks, executed with their outputs on the page.

A tutorial is Jupytext's Markdown: each fence of `python` is a cell, all else is text. Its page on
the site shows what every cell printed, drew or returned, and offers the notebook for download.
"""

import os
import shutil
import tempfile
from pathlib import Path

import jupytext
import nbformat
from jinja2 import DictLoader
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

from nestvec import kernels

DATA = "data"
SECONDS_PER_CELL = 300
_KERNEL = [
    "--log-level=ERROR",  # it warns that it listens without encryption: only here, and with a key
    "--InlineBackend.figure_formats=svg",
]
_PAGE = """\
{%- extends "markdown/index.md.j2" -%}
{%- block input %}
```python
{{ cell.source }}
```
{% endblock input -%}
{%- block stream %}
~~~~ { .text .output .no-copy }
{{ output.text | strip_ansi | trim }}
~~~~
{% endblock stream -%}
{%- block data_text %}
~~~~ { .text .output .no-copy }
{{ output.data["text/plain"] | trim }}
~~~~
{% endblock data_text -%}
{%- block data_html %}
<div class="output" markdown="0">
{{ output.data["text/html"] | trim }}
</div>
{% endblock data_html -%}
{%- block data_svg %}
![Chart drawn by the code above]({{ output.metadata.filenames["image/svg+xml"] }}){ .output }
{% endblock data_svg -%}
"""


_ENVIRONMENT = {
    "MATPLOTLIBRC": str(Path(__file__).parent),
    # Progress bars as widgets are for people: nobody watches these cells.
    "PYTHONWARNINGS": "ignore:IProgress not found",
}


def execute(page: Path) -> nbformat.NotebookNode:
    """The notebook of a tutorial with its outputs, run in a new process and a folder of its own.

    The folder holds a copy of `data/`, the files that stand beside the tutorials.
    An error of a cell is raised as `nbclient.exceptions.CellExecutionError`; a warning, or whatever
    else it writes to standard error, is a `RuntimeError`: readers would see it on the page.
    """
    for compile_or_load in (kernels.load, kernels.load_exact, kernels.load_scoring):
        compile_or_load()  # else the first cell that needs them would say that it compiles
    notebook = jupytext.read(page, fmt="md")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    with tempfile.TemporaryDirectory() as folder:
        if (page.parent / DATA).is_dir():
            shutil.copytree(page.parent / DATA, Path(folder, DATA))
        client = NotebookClient(
            notebook,
            timeout=SECONDS_PER_CELL,
            kernel_name="python3",
            extra_arguments=_KERNEL,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=os.environ | _ENVIRONMENT)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if output.get("name") == "stderr":
            raise RuntimeError(f"{page.name}: a cell wrote to standard error: {output['text']}")
    return notebook


def render(notebook: nbformat.NotebookNode, name: str) -> dict[str, bytes]:
    """Files of an executed tutorial by name: `name`.md, the charts beside it, and the notebook."""
    exporter = MarkdownExporter(
        extra_loaders=[DictLoader({"page.md.j2": _PAGE})], template_file="page.md.j2"
    )
    text, resources = exporter.from_notebook_node(
        notebook, {"unique_key": name, "output_files_dir": ""}
    )
    heading, _, rest = text.strip().partition("\n")
    link = f'[Download as a notebook]({name}.ipynb){{ .md-button download="{name}.ipynb" }}'
    return {
        f"{name}.md": f"{heading}\n\n{link}\n{rest}\n".encode(),
        f"{name}.ipynb": nbformat.writes(notebook).encode(),
        **resources["outputs"],
    }
