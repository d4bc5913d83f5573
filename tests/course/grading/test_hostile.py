"""Whatever a submission tries, it harms nobody and gains nothing, and the next is graded right."""

import os
import socket
import time
from pathlib import Path

import pytest

from benchmarks.hostile import HOSTILE, PRELUDE
from pgzoo.course.grading.grade import Setting, grade_submission

ROOT = Path(__file__).parents[3]
SETTING = Setting(("leave_one_out",), seed=7)
HONEST = PRELUDE + "def attempt():\n    pass\n"


@pytest.fixture(scope="module")
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        yield listening


def graded(nursery, path, source):
    path.write_text(source)
    (grade,) = grade_submission(path, SETTING, nursery)
    return grade


@pytest.mark.parametrize("name", HOSTILE)
def test_it_harms_nobody_and_gains_nothing(name, nursery, server, tmp_path):
    secret = tmp_path / "grades.csv"
    secret.write_text("secret")
    before = secret.stat(), sorted(tmp_path.iterdir()), os.path.getsize(os.__file__)
    (tmp_path / "handed-in").mkdir()
    port = server.getsockname()[1]
    source = HOSTILE[name].source(str(secret), port)
    grade = graded(nursery, tmp_path / "handed-in" / "them.py", source)
    assert grade.status == HOSTILE[name].status, grade
    if name == "outlives":
        time.sleep(1.5)
    assert secret.read_text() == "secret"
    after = secret.stat()
    assert (before[0].st_mode, before[0].st_mtime) == (after.st_mode, after.st_mtime)
    assert sorted(p for p in tmp_path.iterdir() if p.name != "handed-in") == before[1]
    assert os.path.getsize(os.__file__) == before[2]
    with pytest.raises(BlockingIOError):
        server.accept()
    honest = graded(nursery, tmp_path / "handed-in" / "next.py", HONEST.format(secret="", port=0))
    assert honest.status == "right", honest


def test_a_refusal_is_the_kernel_s_not_a_mistake_of_the_attempt(nursery, tmp_path):
    """Each attempt succeeds where it is allowed: a file that may be read is read."""
    source = HOSTILE["reads-files"].source(os.__file__, 0)
    assert graded(nursery, tmp_path / "them.py", source).status == "right"


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", Path.home(), ROOT / "setup.cfg", ROOT / "notebooks" / "README.md", __file__],
    ids=str,
)
def test_nothing_is_read_but_python_s_own(nursery, tmp_path, path):
    assert os.access(path, os.R_OK)
    code = PRELUDE.format(secret=str(path), port=0) + "import os\n\n\ndef attempt():\n"
    code += "    os.listdir(SECRET) if os.path.isdir(SECRET) else open(SECRET).read()\n"
    grade = graded(nursery, tmp_path / "them.py", code)
    assert (grade.status, "Permission denied" in grade.says) == ("failed", True)


def test_the_same_grade_every_time(nursery, tmp_path):
    for name in ("right-once", "takes-memory", "crashes", "reads-files"):
        source = HOSTILE[name].source(str(tmp_path / "none"), 0)
        first, second = (graded(nursery, tmp_path / "them.py", source) for _ in range(2))
        assert (first.status, first.says) == (second.status, second.says)
