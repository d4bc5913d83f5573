"""The book in a browser, from its folder: no server, no network, on a screen and on a phone."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("playwright")

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
PAGES = [
    "index",
    "book/api/face",
    "book/api/estimators",
    "benchmarks/claims",
    "_modules/pgzoo/agents/rloo",
    *(f"notebooks/solutions/{path.stem}" for path in CHAPTERS),
]


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "sphinx", "-q", "-c", "book", "-d", str(folder / "doctrees")]
    subprocess.run([*command, ".", str(folder / "html")], cwd=ROOT, check=True)
    return folder / "html"


def formulas(page):
    """How many are set, and how many came out as an error."""
    return tuple(page.locator(name).count() for name in ("mjx-container", "mjx-merror"))


@pytest.mark.parametrize("name", PAGES)
def test_a_page(book, opened, screenshots, name):
    page, wrong, size = opened
    page.goto((book / f"{name}.html").as_uri())
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)
    page.screenshot(path=screenshots / f"{name.replace('/', '-')}-{size}.png", full_page=True)
    assert wrong == []
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]
    found, broken = formulas(page)
    assert not broken
    assert found or "notebooks/solutions" not in name


def test_search(book, opened, screenshots):
    page, wrong, size = opened
    page.goto((book / "README.html").as_uri())
    if size == "phone":
        page.locator("label[for=__navigation]:visible").first.click()
        page.wait_for_timeout(500)
        page.screenshot(path=screenshots / f"navigation-{size}.png")
    page.fill("input.sidebar-search", "leave one out")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li a")
    page.wait_for_timeout(1000)
    page.screenshot(path=screenshots / f"search-{size}.png")
    assert wrong == []
    assert "pgzoo.estimators.leave_one_out" in page.inner_text("#search-results")
    page.click("#search-results li a")
    page.wait_for_selector("article")
    assert wrong == []
