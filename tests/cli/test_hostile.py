"""A stranger's names reach the terminal as text, whatever command shows them."""

import json
import shlex
import sys
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner

from pgzoo.cli import main, print_traceback
from pgzoo.records.printable import HIDDEN
from tests.helpers import signed_again, train_small

ESCAPES = "\x1b]0;owned\x07\x1b[31m"
NAMES = {
    "controls": f"a{ESCAPES}b",
    "markup": "[bold]a[/bold] [/nothing] \\[red]",
    "shell": "$(touch X); `touch X`",
    "newlines": "a\nError: all is well\n",
    "direction": "a\u202egnp\u200f\u2066",
    "dash": "-x",
}
ESTIMATOR = """
def psi(t):
    return (t.reward * t.mask).sum(-1, keepdim=True).expand(t.mask.shape)

def bad(t):
    raise RuntimeError("\\x1b]0;owned\\x07 [bold]\\u202e")
"""
SMALL = ["--env", "CartPole-v1", "--seeds", "0,1", "--steps", "200", "--episodes", "4"]
SMALL += ["--hidden", "4", "--diagnostics", "0"]


def call(*words):
    """Run a command; whatever it says shows as it is."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    for stream in (result.stdout_bytes, result.stderr_bytes):
        hidden = {c for c in stream.decode() if unicodedata.category(c) in HIDDEN} - {"\n", "\t"}
        assert not hidden
    return result


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not Path("X").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    return train_small(path, seeds=2).path


def stranger(trained, place, **changes):
    """A run's folder whose configuration a stranger has changed, and signed."""
    place.mkdir()
    for file in trained.iterdir():
        if file.is_file():
            (place / file.name).write_bytes(file.read_bytes())
    signed_again(place / "config.json", **changes)
    return place


def every_command(run):
    yield call("run", "rloo", "--resume", run)
    yield call("eval", run, "--episodes", 2)
    yield call("plot", run, "--format", "svg")
    yield call("watch", run, "--seconds", "0.1")
    yield call("compare", "rloo", "ppo", "--env", "Nowhere-v0", "--reuse", run, "--out", "c")
    yield call("lab", "measure", "--run", run, "--estimates", "2", "--estimator", "rloo")
    yield call("tensorboard", run / "nothing")
    yield call("doctor", run)
    yield call("doctor", run, "--json")


@pytest.mark.parametrize("field", ["agent", "env"])
@pytest.mark.parametrize("kind", NAMES)
def test_a_strangers_configuration_is_shown_and_not_obeyed(trained, kind, field):
    name = NAMES[kind] if field == "env" else f"{NAMES[kind]}.py:psi"
    run = stranger(trained, Path("run"), **{field: name})
    assert all(result.exit_code for result in list(every_command(run))[:6])


def test_a_strangers_version_and_reasons_are_shown_and_not_obeyed(trained):
    for i, name in enumerate(NAMES.values()):
        run = stranger(trained, Path(f"run{i}"), versions={"pgzoo": name})
        call("doctor", run)
        summary = json.loads((run / "summary.json").read_text())
        for field in ("eval_mean", "eval_std", "eval_standard_error"):
            summary[field][0] = None
        signed_again(run / "summary.json", **summary | {"failed": [name, None]})
        call("run", "rloo", "--resume", run)
        call("doctor", run)


@pytest.mark.parametrize("kind", NAMES)
def test_folders_and_files_of_any_name_are_shown_and_not_obeyed(kind):
    folder = Path(NAMES[kind].replace("/", "_"))
    file = Path(f"{folder}.py" if str(folder).isprintable() else "mine.py")
    file.write_text(ESTIMATOR)
    trained = call("run", "--", f"{file}:psi", *SMALL, "--out", folder)
    assert trained.exit_code == 0, trained.output
    suggested = [
        line.partition("  #")[0].strip()
        for line in trained.stdout.splitlines()
        if line.strip().startswith("pgzoo ")
    ]
    if str(folder).isprintable():
        commands = [shlex.split(line) for line in suggested]
        assert len(commands) == 4
        assert Path(commands[1][2]) == folder
        assert Path(commands[2][2]) == folder
        assert call(*commands[2][1:], "--episodes", "2").exit_code == 0
    else:
        assert "no command to copy" in trained.stdout
        assert not any(word in " ".join(suggested) for word in ("watch", "eval"))
    for command in (["doctor", "--", folder], ["eval", "--episodes", "2", "--", folder]):
        assert call(*command).exit_code == 0
    call("plot", "--format", "svg", "--", folder)
    call("run", "rloo", "--resume", folder)
    call("eval", f"{folder}-not-there")


def test_an_exception_of_others_is_shown_and_not_obeyed(capfd):
    Path("bad.py").write_text(ESTIMATOR)
    assert "\\x1b]0;owned" in call("run", "bad.py:bad", *SMALL).stderr
    try:
        raise RuntimeError(ESCAPES)
    except RuntimeError:
        print_traceback(*sys.exc_info())
    said = capfd.readouterr().err
    assert "\\x1b]0;owned" in said
    assert "\x1b" not in said


def test_a_strangers_program_is_not_suggested_to_be_run():
    file = Path("theirs.py")
    file.write_text(ESTIMATOR)
    trained = call("run", "theirs.py:psi", *SMALL, "--out", "run")
    assert "theirs.py" not in trained.stdout.partition("Next:")[2]
    file.write_text("open('X', 'w')")
    for result in (call("run", "rloo", "--resume", "run"), call("doctor", "run")):
        assert "theirs.py" in result.output
        assert "read it" in result.output
        assert "pgzoo run theirs.py" not in result.output


def test_help_and_errors_call_an_agent_by_a_name_that_shows():
    name = f"a{ESCAPES}.py:psi"
    Path(f"a{ESCAPES}.py").write_text(ESTIMATOR)
    call("run", name, "--help")
    call("run", name, "--nonsense")
    call(ESCAPES)
    call("lab", ESCAPES)


def test_a_laboratorys_folder_is_tried_without_touching_what_is_there(trained, tmp_path):
    Path("lab").mkdir()
    Path("lab", ".writable").symlink_to(tmp_path / "elsewhere")
    call(
        "lab",
        "measure",
        "--run",
        trained,
        "--estimates",
        "2",
        "--estimator",
        "rloo",
        "--out",
        "lab",
    )
    assert Path("lab", "lab.json").exists()
    assert Path("lab", ".writable").is_symlink()
    assert not Path("elsewhere").exists()
