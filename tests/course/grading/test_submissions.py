import os

import pytest

from pgzoo.course.grading import submissions
from pgzoo.course.grading.submissions import Submission, read_submission, submissions_in
from pgzoo.errors import UsageError


def test_a_folder_s_notebooks_and_python_files_in_order(tmp_path):
    folder = tmp_path / "anna"
    (folder / "notebooks" / ".ipynb_checkpoints").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "notebooks" / "5_leave_one_out.ipynb").write_bytes(b"{}")
    (folder / "notebooks" / ".ipynb_checkpoints" / "5-checkpoint.ipynb").write_bytes(b"{}")
    (folder / "__pycache__" / "x.py").write_bytes(b"")
    (folder / ".hidden.py").write_bytes(b"")
    (folder / "data.csv").write_bytes(b"")
    (folder / "a.py").write_bytes(b"x = 1")
    files = {"a.py": b"x = 1", "notebooks/5_leave_one_out.ipynb": b"{}"}
    assert read_submission(folder) == Submission("anna", files)


def test_a_single_file(tmp_path):
    (tmp_path / "bob.ipynb").write_bytes(b"\xff")
    assert read_submission(tmp_path / "bob.ipynb") == Submission(
        "bob.ipynb", {"bob.ipynb": b"\xff"}
    )


def test_links_are_not_followed(tmp_path):
    (tmp_path / "solution.py").write_text("secret")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "theirs.py").write_text("secret")
    folder = tmp_path / "eve"
    folder.mkdir()
    (folder / "a.py").symlink_to(tmp_path / "solution.py")
    (folder / "b").symlink_to(tmp_path / "others")
    (tmp_path / "mallory").symlink_to(tmp_path / "others")
    found = read_submission(folder)
    assert found.files == {}
    assert found.refused == ("a.py is no regular file; links are not followed",)
    assert read_submission(tmp_path / "mallory").files == {}
    assert "link" in read_submission(tmp_path / "mallory").refused[0]


def test_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "eve").mkdir()
    os.mkfifo(tmp_path / "eve" / "a.py")
    os.mkfifo(tmp_path / "b.py")
    assert read_submission(tmp_path / "eve").refused
    assert read_submission(tmp_path / "b.py").refused


def test_sizes_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "LARGEST", 10)
    monkeypatch.setattr(submissions, "LARGEST_OF_ALL", 15)
    for name, size in (("a.py", 10), ("b.py", 11), ("c.py", 5), ("d.py", 1)):
        (tmp_path / name).write_bytes(b"#" * size)
    found = read_submission(tmp_path)
    assert list(found.files) == ["a.py"]
    assert "larger than 48 MB" in found.refused[0]
    (tmp_path / "a.py").unlink()
    found = read_submission(tmp_path)
    assert list(found.files) == ["c.py", "d.py"]
    assert found.refused == ("b.py was left out: it is larger than 16 MB",)


def test_a_file_of_ten_gigabytes_is_not_read(tmp_path):
    with (tmp_path / "a.py").open("wb") as file:
        file.truncate(10 << 30)
    assert "larger than" in read_submission(tmp_path).refused[0]


def test_the_number_of_entries_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MOST_ENTRIES", 10)
    for name in range(20):
        (tmp_path / f"{name}.txt").touch()
    assert "more than 10" in read_submission(tmp_path).refused[0]


def test_nothing_handed_in_is_said(tmp_path):
    assert read_submission(tmp_path).refused == ("there is no notebook and no Python file in it",)
    (tmp_path / "all.zip").touch()
    assert read_submission(tmp_path / "all.zip").refused == (
        "it is no folder, no notebook and no Python file",
    )


def test_names_can_be_printed(tmp_path):
    odd = os.fsencode(tmp_path) + b"/a\n\x1b[2J\xff"
    os.mkdir(odd)
    (path,) = submissions_in(tmp_path)
    assert read_submission(path).name == r"a\n\x1b[2J\udcff"


def test_hidden_entries_of_a_class_are_left_out(tmp_path):
    for name in (".DS_Store", "__MACOSX", "b", "a.py"):
        (tmp_path / name).touch()
    assert [p.name for p in submissions_in(tmp_path)] == ["a.py", "b"]


def test_no_class_is_refused(tmp_path):
    with pytest.raises(UsageError, match="there are none"):
        submissions_in(tmp_path)
    with pytest.raises(UsageError, match="Expected a folder"):
        submissions_in(tmp_path / "missing")
