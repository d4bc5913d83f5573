"""The hand-out in JupyterLab: its first cells run, an exercise is failed and then solved."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import pytest

from notebooks import build
from pgzoo.course.handout import write_handout

pytest.importorskip("playwright")
pytest.importorskip("jupyterlab")

SECONDS = 120_000
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


@pytest.fixture
def lab(tmp_path):
    """Address of a JupyterLab in a new hand-out, and the hand-out."""
    write_handout(tmp_path / "course")
    for name, values in SETTINGS.items():
        file = tmp_path / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", "--IdentityProvider.token=", "--ServerApp.password="]
    command += [f"--ServerApp.root_dir={tmp_path / 'course'}"]
    command += [f"--LabApp.workspaces_dir={tmp_path / 'workspaces'}"]
    command += [f"--LabApp.user_settings_dir={tmp_path / 'settings'}"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    address = f"http://localhost:{port}/lab"
    for _ in range(60):
        try:
            urllib.request.urlopen(address).close()
            break
        except urllib.error.URLError:
            time.sleep(1)
    yield address, tmp_path / "course"
    server.terminate()
    server.wait()


class Notebook:
    """A notebook on a page of JupyterLab."""

    def __init__(self, page, address):
        self.page = page
        page.goto(address)
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=SECONDS)
        page.wait_for_selector("[data-status=idle]", timeout=SECONDS)

    def cell(self, index):
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def write(self, index, text):
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(text)

    def run(self, index):
        """Run a cell of code as a learner does, and wait for what it shows."""
        cell = self.cell(index)
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.inner_text()
        for step in range(SECONDS // 100):
            now = prompt.inner_text()
            if now != before and re.fullmatch(r"\[\d+\]:", now):
                return cell.locator(".jp-OutputArea").inner_text()
            if now == before and step % 50 == 0:  # a page that is still at work drops keys
                cell.locator(".cm-content").click()
                self.page.keyboard.press("Shift+Enter")
            self.page.wait_for_timeout(100)
        raise AssertionError(f"cell {index} is not done: {prompt.inner_text()}")


def wrong(solution):
    """The same function with the sign of its result turned."""
    before, result = solution.rsplit("return ", 1)
    return f"{before}return -1 * ({result.strip()})"


@pytest.mark.parametrize("opened", ["desktop"], indirect=True)
@pytest.mark.parametrize("source", build.sources(), ids=lambda path: path.stem)
def test_an_exercise_is_failed_and_then_solved(lab, opened, screenshots, source):
    page, _, _ = opened
    address, folder = lab
    cells = nbformat.read(folder / f"{source.stem}.ipynb", as_version=4).cells
    exercise = next(i for i, cell in enumerate(cells) if build.is_exercise(cell))
    name = build.name_of(cells[exercise])
    check = next(i for i, cell in enumerate(cells) if build.checks(cell, name))
    solution = build.solution(build.read(source)).cells[exercise].source

    def picture(what):
        notebook.cell(check).scroll_into_view_if_needed()
        page.screenshot(path=screenshots / f"{source.stem}-{what}.png")

    notebook = Notebook(page, f"{address}/tree/{source.stem}.ipynb")
    for index in range(exercise + 1):
        if cells[index].cell_type == "code":
            assert "Error" not in notebook.run(index)
    page.screenshot(path=screenshots / f"{source.stem}-begun.png")
    assert f"{name}: not written" in notebook.run(check)
    picture("not-written")
    notebook.write(exercise, wrong(solution))
    notebook.run(exercise)
    assert f"{name}: wrong" in notebook.run(check)
    picture("wrong")
    notebook.write(exercise, solution)
    notebook.run(exercise)
    assert f"{name}: right" in notebook.run(check)
    picture("right")
