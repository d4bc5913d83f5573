"""The book: course, README, reference and what was measured, as a site that needs no server.

Sphinx reads the repository where it stands, so that links between its pages hold in the book as
they do on a repository page. What a page needs beside is done here: contents, folded solutions, and
links to code, which lead to its highlighted text.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from pgzoo import __version__
from pgzoo.agents import AGENTS

ROOT = Path(__file__).parents[1]
STUDENT = ROOT / "notebooks" / "student"

project, author, copyright = "pgzoo", "the pgzoo authors", "the pgzoo authors"  # noqa: A001
release = version = __version__
root_doc = "README"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/*.md",
    "benchmarks/results/**.md",
    "book/**.md",
    "notebooks/*.md",
    "notebooks/solutions/*.ipynb",
    "notebooks/student/README.md",
]
exclude_patterns = ["book/_build", ".venv", "build", "**/.*"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]

nb_execution_mode = "off"  # notebooks are stored with their outputs, by `make notebooks`
nb_render_markdown_format = "myst"  # for links in what cells show
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "pgzoo"
html_static_path = [
    "static",
    # Mathematics is set by MathJax from this one file: no network, and no module that a browser
    # would refuse to load from a folder.
    str(resources.files("mathjax") / "static" / "mathjax" / "es5" / "tex-svg-full.js"),
]
html_css_files = ["book.css"]
html_js_files = ["folder.js"]
html_additional_pages = {"index": "redirect.html"}
html_copy_source = False
templates_path = ["templates"]
mathjax_path = "tex-svg-full.js"
mathjax3_config = {"options": {"enableMenu": False}}


def pages(pattern: str) -> list[str]:
    """Names of pages below the root, in the order of the numbers that they begin with."""
    names = [path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.glob(pattern)]
    return sorted(names, key=lambda name: [int(n) for n in re.findall(r"/(\d+)_", name)] or [0])


CONTENTS = {
    "The course": [
        "notebooks/README",
        *pages("notebooks/solutions/*.ipynb"),
        "notebooks/student/README",
        "notebooks/TEACHING",
    ],
    "Reference": [f"book/api/{name}" for name in ("face", "course", "estimators", "agents", "lab")],
    "What was measured": sorted(pages("benchmarks/*.md") + pages("benchmarks/results/**/*.md")),
    "The project": ["CHANGELOG", "CONTRIBUTING"],
}
"""Captions of the navigation, and pages below them."""

FOLDERS = {"pgzoo/agents": "book/api/agents.md"}
"""Pages of the book that stand for folders of the repository."""
LINK = re.compile(r"\[([^\]]*)\]\(([^)#:\s]+)\)")


def contents() -> str:
    """The navigation, for the end of the front page."""
    found = ""
    for caption, names in CONTENTS.items():
        head = f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n"
        found += head + "\n".join(names) + "\n```\n"
    return found


def agents() -> str:
    """Every agent of the zoo, for its page."""
    found = ""
    for name, entry in AGENTS.items():
        found += f"\n## {name}\n\n```{{eval-rst}}\n.. automodule:: {entry.agent.__module__}\n"
        found += "   :members:\n```\n"
    return found


def folded(notebook: str, student: str) -> str:
    """A solution notebook that shows an exercise's stub, and its solution on demand.

    Args:
        notebook: the solution notebook.
        student: the student notebook of the same chapter.
    """
    content = json.loads(notebook)
    stubs = {cell["id"]: cell for cell in json.loads(student)["cells"]}
    cells = []
    for cell in content["cells"]:
        tags = cell["metadata"].get("tags", [])
        if "exercise" in tags:
            cells.append(stubs[cell["id"]] | {"id": f"{cell['id']}-stub"})
            cell["metadata"]["tags"] = [*tags, "hide-cell"]
            cell["metadata"]["mystnb"] = {"code_prompt_show": f"Show a solution of {tags[-1]}"}
        cells.append(cell)
    return json.dumps(content | {"cells": cells})


def without_folders(text: str, page: Path) -> str:
    """Links to folders lead to the page that stands for them, or nowhere."""

    def mended(link: re.Match[str]) -> str:
        target = (page.parent / link[2]).resolve()
        if not target.is_dir():
            return link[0]
        name = target.relative_to(ROOT).as_posix()
        return f"[{link[1]}](/{FOLDERS[name]})" if name in FOLDERS else link[1]

    return LINK.sub(mended, text)


def prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give a page what it has in the book alone."""
    path = Path(app.env.doc2path(docname))
    if path.suffix == ".ipynb":
        source[0] = folded(source[0], (STUDENT / path.name).read_text(encoding="utf-8"))
    else:
        source[0] = without_folders(source[0], path)
    if docname == root_doc:
        source[0] += contents()
    elif docname == "book/api/agents":
        source[0] += agents()


def without_substitutions(app: Sphinx, *about: Any) -> None:
    """Bars in docstrings are those of π(a|s) and 1/|o|, never reStructuredText's."""
    lines = about[-1]
    lines[:] = [line.replace("|", "\\|") for line in lines]


def link_code(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Links to modules that the reference has lead to their highlighted text."""
    known: dict[str, Any] = getattr(app.env, "_viewcode_modules", {})
    for link in list(doctree.findall(addnodes.download_reference)):
        path = Path(link["reftarget"])
        module = ".".join(path.with_suffix("").parts).removeprefix("envs.").strip(".")
        if path.suffix == ".py" and module in known:
            uri = app.builder.get_relative_uri(docname, "_modules/" + module.replace(".", "/"))
            link.replace_self(nodes.reference("", "", *link.children, refuri=uri, internal=True))


def setup(app: Sphinx) -> None:
    """Connect the above."""
    sys.path.insert(0, str(ROOT))
    app.connect("source-read", prepare)
    app.connect("autodoc-process-docstring", without_substitutions)
    app.connect("doctree-resolved", link_code)
