"""The campaign's own eyes: a command with a planted defect is found, and one without is not."""

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from tests.fuzz import child, damage, folders, verdicts
from tests.fuzz.lines import Line, line
from tests.fuzz.verdicts import of_files, of_outcome, of_suggestions


@pytest.fixture
def ground(tmp_path):
    """Watches an action as a case is watched, and gives the kinds of what was found."""
    (tmp_path / "aside").mkdir()
    work = folders.set_up(tmp_path / "case", tmp_path, [])

    def watch(action, limit=20.0, told=("new",)):
        place = tmp_path / "case"
        before = folders.snapshot(place)
        outcome = run_apart(action, work, tmp_path / "aside", limit)
        after = folders.snapshot(place)
        found = [
            *of_outcome(outcome, (0, 2)),
            *of_files(place, before, after, outcome, told),
            *of_suggestions(outcome.text),
        ]
        return {verdict.kind for verdict in found}

    return watch


def run_apart(action, work, aside, limit):
    """Fork once more: what a test does to be a parent of orphans stays there."""
    return child.run(action, work, aside, limit=limit)


def test_what_does_no_harm_is_let_be(ground):
    def action():
        print("All is well, naïvely: ψ\n")
        os.mkdir("new")
        Path("new/file").write_text("what was to be written")
        sys.exit(2)

    assert ground(action) == set()


def raises():
    raise KeyError("a defect")


def raises_when_deleted():
    class Thing:
        def __del__(self):
            raise ValueError("too late")

    Thing()


def takes_memory():
    return torch.ones(2 * 2**30)


def writes_beside():
    Path("../outside/secret.txt").write_text("changed")


def writes_through_a_link():
    os.symlink("../outside/secret.txt", "new")
    Path("new").write_text("changed")


def writes_far_away():
    path = Path(tempfile.gettempdir()) / f"pgzoo-test-{os.getpid()}"
    path.write_text("")
    path.unlink()


def leaves_a_temporary_file():
    Path("../tmp/file").write_text("")


def changes_an_input():
    Path("table.csv").write_text("other")


def removes_an_input():
    Path("file.txt").unlink()


def adds_to_a_folder():
    Path("folder/film.gif").write_text("")


def prints_control():
    print("a name: \x1b[31mred")


def prints_c1():
    print("a name: \x9b31mred")


def executes():
    os.system("touch X")


def suggests():
    print("Next:\n  pgzoo run $(touch X) --resume it")


def suggests_in_a_sentence():
    print("Go on with `pgzoo eval a; touch X`.")


def exits_oddly():
    sys.exit(7)


def is_killed():
    os.kill(os.getpid(), 9)


DEFECTS = [
    (raises, "traceback"),
    (raises_when_deleted, "traceback"),
    (exits_oddly, "traceback"),
    (is_killed, "traceback"),
    (takes_memory, "memory"),
    (writes_beside, "outside"),
    (writes_through_a_link, "outside"),
    (writes_far_away, "outside"),
    (leaves_a_temporary_file, "outside"),
    (changes_an_input, "inputs"),
    (removes_an_input, "inputs"),
    (adds_to_a_folder, "inputs"),
    (prints_control, "control"),
    (prints_c1, "control"),
    (executes, "executed"),
    (suggests, "executed"),
    (suggests_in_a_sentence, "executed"),
]


@pytest.mark.parametrize(("action", "kind"), DEFECTS, ids=lambda x: getattr(x, "__name__", None))
def test_a_planted_defect_is_found(ground, action, kind):
    assert kind in ground(action)


def test_who_does_not_end_hangs(ground, monkeypatch):
    monkeypatch.setattr(child, "PATIENCE", 0.3)

    def stubborn():
        while True:
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                continue

    assert ground(stubborn, limit=2) == {"hang"}


def test_who_ends_on_ctrl_c_does_not(ground):
    def patient():
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            sys.exit(130)

    assert ground(patient, limit=2) == set()


def test_what_is_left_behind_is_found_and_ended(tmp_path):
    program = (
        "import subprocess\n"
        "from pathlib import Path\n"
        "from tests.fuzz import child\n"
        "child.adopt_orphans()\n"
        f"work = Path({str(tmp_path)!r})\n"
        "start = lambda: subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "print(child.run(start, work, work, limit=20).left_behind)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "sleep 60" in found.stdout, found.stderr


def test_every_kind_of_verdict_has_its_planted_defect():
    elsewhere = {"hang", "left", "undetected", "no effect", "broken"}
    assert {kind for _, kind in DEFECTS} | elsewhere == set(verdicts.KINDS)


def test_a_line_is_a_function_of_its_number():
    def some():
        return [line(random.Random(f"1/{i}")) for i in range(200)]

    assert some() == some()
    assert len(set(some())) > 150


def test_lines_reach_every_command():
    drawn = [line(random.Random(f"2/{i}")).words for i in range(3000)]
    seen = {words[:2] for words in drawn if words} | {words[:1] for words in drawn if words}
    from tests.fuzz.lines import leaves

    assert {words for words in leaves() if words not in seen} == set()


@pytest.mark.parametrize(
    ("words", "long"),
    [
        (["--steps", "5000"], False),
        (["--steps", "5001"], True),
        (["ppo:steps=100000"], True),
        (["--seeds", "0-9999"], True),
        (["--seconds", "1e9"], True),
        (["--learning-rate", "0.05"], False),
    ],
)
def test_what_may_take_long_is_known(words, long):
    assert Line(tuple(words)).may_be_long == long


CONTENTS = {"config.json": '{"a": [1, 2], "b": "text"}', "metrics.csv": "a,b\n1,2\n3,4\n"}


def damaged(root, name, number):
    """What is in a folder with a damaged file, and what was said of the damage."""
    run = root / "work" / "run"
    for folder in (run, root / "outside"):
        folder.mkdir(parents=True)
    (run / "config.json").write_text(CONTENTS["config.json"])
    (run / name).write_text(CONTENTS.get(name, "x" * 3000))
    before = folders.snapshot(root)
    done = damage.damage(run, name, random.Random(number))
    after = {path: about.replace(str(root), "") for path, about in folders.snapshot(root).items()}
    return before, after, done.words.replace(str(root), "")


@pytest.mark.parametrize("name", ["config.json", "metrics.csv", "file.safetensors"])
def test_damage_changes_something_and_is_a_function_of_its_number(tmp_path, name):
    for number in range(100):
        before, after, done = damaged(tmp_path / f"{number}", name, number)
        assert before != after, done
        assert damaged(tmp_path / f"{number} again", name, number) == (before, after, done)
