"""The book: it is built without a warning, every link in it leads somewhere, and none outside."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from notebooks import build
from pgzoo.course.chapters import EXERCISES

ROOT = Path(__file__).parents[1]
LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """What a page loads, links to, and has places for."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.ids = [], [], set()
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids.add(found.get("id"))
        if tag in LOADS and LOADS[tag] in found:
            self.loads.append(found[LOADS[tag]])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The pages of the book, by path."""
    folder = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "book"]
    command += ["-d", str(folder / "doctrees"), ".", str(folder / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {path: Page(path) for path in (folder / "html").rglob("*.html")}


def page(book, name):
    return next(found for path, found in book.items() if path.as_posix().endswith(f"html/{name}"))


def test_a_page_loads_nothing_from_outside(book):
    for path, found in book.items():
        for address in found.loads:
            assert urlsplit(address).scheme in ("", "data"), (path, address)


def test_every_link_leads_somewhere(book):
    for path, found in book.items():
        for address in found.loads + found.links:
            parts = urlsplit(address)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), (path, address)
            if parts.fragment and target in book:
                assert unquote(parts.fragment) in book[target].ids, (path, address)


def test_mathematics_and_search_are_part_of_it(book):
    static = next(path for path in book if path.name == "index.html").parent / "_static"
    assert (static / "tex-svg-full.js").stat().st_size > 1e6
    index = (static.parent / "searchindex.js").read_text(encoding="utf-8")
    assert '"greensmith"' in index or "greensmith:" in index


def test_links_to_code_lead_to_its_text(book):
    assert "_modules/pgzoo/agents/rloo.html" in page(book, "README.html").links


def test_every_chapter_is_in_the_navigation(book):
    front = page(book, "README.html")
    for source in build.sources():
        assert f"notebooks/solutions/{source.stem}.html" in front.links


def test_solutions_are_folded(book):
    text = "".join(found.text for path, found in book.items() if "solutions" in path.parts)
    assert [name for name in EXERCISES if f"Show a solution of {name}" not in text] == []
