"""The hand-out: what is in it, and what it never writes over."""

import nbformat
import pytest
from click.testing import CliRunner

from notebooks import build
from pgzoo.cli import main
from pgzoo.course import handout
from pgzoo.course.chapters import EXERCISES


@pytest.fixture
def student(tmp_path, monkeypatch):
    """A place of student notebooks with two chapters."""
    folder = tmp_path / "student"
    folder.mkdir()
    for name in ("2_b.ipynb", "1_a.ipynb", "README.md"):
        (folder / name).write_text(f"text of {name}", encoding="utf-8")
    monkeypatch.setattr(handout, "_INSTALLED", folder)
    return folder


def hand_out(folder):
    return CliRunner().invoke(main, ["course", "student", str(folder)])


@pytest.mark.parametrize("there", [False, True])
def test_notebooks_and_the_page_are_written(student, tmp_path, there):
    out = tmp_path / "a" / "out"
    if there:
        out.mkdir(parents=True)
    result = hand_out(out)
    assert result.exit_code == 0, result.output
    names = ["1_a.ipynb", "2_b.ipynb", "README.md"]
    assert result.output.split() == [str(out / name) for name in names]
    assert [(out / name).read_text() for name in names] == [f"text of {n}" for n in names]


def test_what_learners_wrote_is_kept(student, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "1_a.ipynb").write_text("mine")
    result = hand_out(out)
    assert result.exit_code == 2
    assert "Expected" in result.output
    assert [path.name for path in out.iterdir()] == ["1_a.ipynb"]
    assert (out / "1_a.ipynb").read_text() == "mine"


def test_a_place_that_cannot_be_written(student, tmp_path):
    (tmp_path / "file").touch()
    result = hand_out(tmp_path / "file" / "out")
    assert result.exit_code == 2
    assert "Cannot write to" in result.output


def test_an_installation_without_notebooks_says_so(student, tmp_path):
    for path in student.glob("*.ipynb"):
        path.unlink()
    result = hand_out(tmp_path / "out")
    assert result.exit_code == 2
    assert "Install pgzoo anew" in result.output
    assert not (tmp_path / "out").exists()


def test_the_hand_out_has_every_exercise_and_no_solution(tmp_path):
    assert hand_out(tmp_path).exit_code == 0
    notebooks = [nbformat.read(p, as_version=4) for p in sorted(tmp_path.glob("*.ipynb"))]
    cells = {build.name_of(c): c for n in notebooks for c in n.cells if build.is_exercise(c)}
    assert cells.keys() == EXERCISES.keys()
    for name, cell in cells.items():
        assert f'raise NotImplementedError("{name}: your lines here")' in cell.source
