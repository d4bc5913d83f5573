"""Terminals that go away, pipes that close, encodings that lack letters, signals at any moment."""

import contextlib
import errno
import json
import os
import pty
import signal
import subprocess
import sys
import time
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from pgzoo.cli import streams

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX pipes, terminals and signals")
PGZOO = [sys.executable, "-m", "pgzoo"]
START = ["run", "reinforce", "--env", "CartPole-v1", "--seeds", "0-1", "--diagnostics", "0"]
RUN, LONG = ([*START, "--steps", steps, "--out"] for steps in ("1000", "10000000"))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def interruptible():
    """Programs started in the background inherit an ignored SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(command, **given):
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | given
    return subprocess.Popen([*PGZOO, *command], preexec_fn=interruptible, **given)


def closed_pipe():
    """The end for writing of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full_device():
    return os.open("/dev/full", os.O_WRONLY)


def ended(process):
    """Status and what was said on standard error."""
    _, errors = process.communicate(timeout=100)
    assert "Traceback" not in (errors or "")
    assert "Exception ignored" not in (errors or "")
    return process.returncode, errors


def test_training_goes_on_without_anybody_who_looks():
    """All at once, since most of the time is spent on starting."""
    shell = f"{sys.executable} -m pgzoo {' '.join(RUN)}"
    processes = {
        "pipe": start([*RUN, "pipe"], stdout=closed_pipe()),
        "both": start([*RUN, "both"], stdout=closed_pipe(), stderr=closed_pipe()),
        "full": start([*RUN, "full"], stdout=full_device()),
        "closed": subprocess.Popen(f"{shell} closed <&- >&- 2>&-", shell=True),
    }
    master, slave = pty.openpty()
    terminal = subprocess.Popen(
        [*PGZOO, *RUN, "terminal"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    os.read(master, 100)
    os.close(master)  # the window is closed; its programs are told so
    terminal.send_signal(signal.SIGHUP)
    for name, process in (processes | {"terminal": terminal}).items():
        assert ended(process) == (0, process.stderr and ""), name
        assert json.loads(Path(name, "summary.json").read_text())["failed"] == [None, None], name
    files = [Path(name, "metrics.csv").read_bytes() for name in [*processes, "terminal"]]
    assert len(set(files)) == 1, "and no word of the display is in them"


@pytest.mark.parametrize("command", [["list"], ["--help"], ["run", "ppo", "--help"]])
def test_what_is_but_output_says_when_it_is_lost(command):
    pipe, full = start(command, stdout=closed_pipe()), start(command, stdout=full_device())
    closed = subprocess.Popen(
        f"{sys.executable} -m pgzoo {' '.join(command)} >&-",
        shell=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert ended(pipe) == (141, ""), "as what SIGPIPE ends"
    assert ended(full) == (1, "Error: Cannot write to standard output: No space left on device.\n")
    assert ended(closed) == (1, "Error: Cannot write to standard output: Bad file descriptor.\n")


def test_errors_keep_their_status_without_standard_error():
    places = (closed_pipe(), full_device())
    for process in [start(["eval", "nowhere"], stderr=place) for place in places]:
        assert ended(process) == (2, None)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1:strict", "utf-16"])
def test_output_in_any_encoding(encoding):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    codec = encoding.partition(":")[0]
    several = [["list"], ["list", "--markdown"], ["run", "grpo", "--help"], ["run", "∇ψ\udcff"]]
    processes = [start(command, env=environment, text=False) for command in several]
    for command, process in zip(several, processes, strict=True):
        output, errors = process.communicate(timeout=60)
        assert b"Traceback" not in errors
        assert process.returncode == (2 if "∇ψ\udcff" in command else 0)
        # What goes through click is UTF-8 where an encoding is ASCII: it takes that for a mistake.
        utf_8 = codec == "ascii" and command != ["list"]
        said = (output or errors).decode("utf-8" if utf_8 else codec)
        assert said.strip()
        if codec in ("cp1252", "ascii") and command == ["list"]:
            assert "pi(a|s)" in said
            assert "Psi = " in said


def test_characters_in_ascii():
    text = "Ψ − π(a|s) ≥ ‖ĝ‖² … é\udcff漢"
    assert text.encode("ascii", "pgzoo.ascii").decode() == (
        "Psi - pi(a|s) >= ||g||2 ... e\\udcff\\u6f22"
    )
    assert "é漢".encode("latin-1", "pgzoo.ascii") == b"\xe9\\u6f22"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", "pgzoo.ascii")
    for character, plain in streams.IN_ASCII.items():
        assert not character.isascii()
        assert plain.isascii()


@pytest.mark.parametrize("columns", ["1", "10", "10000", "-3", "x"])
def test_a_terminal_of_any_width(columns):
    environment = os.environ | {"COLUMNS": columns, "TERM": "dumb", "NO_COLOR": "1"}
    commands = [["list"], ["run", "ppo", "--help"]]
    for process in [start(command, env=environment) for command in commands]:
        assert ended(process) == (0, "")


def test_names_that_are_no_text():
    name = os.fsdecode(b"r\xff")
    status, errors = ended(start([*RUN, name]))
    assert (status, errors) == (0, "")
    assert Path(name, "summary.json").exists()
    assert ended(start(["eval", name, "--episodes", "2"])) == (0, "")
    assert ended(start(["eval", name + "x"]))[0] == 2


def test_a_current_folder_that_is_gone_is_said(tmp_path):
    command = f"mkdir x; cd x; rmdir ../x; {sys.executable} -m pgzoo eval {tmp_path}"
    process = subprocess.Popen(command, shell=True, stderr=subprocess.PIPE, text=True)
    status, errors = ended(process)
    assert status == 2
    assert "the current one is gone" in errors


def begun(path, size=3_000):
    """Wait until a run has done something."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        with contextlib.suppress(OSError):
            if Path(path, "metrics.csv").stat().st_size > size:
                return
        time.sleep(0.01)
    raise AssertionError


def test_what_schedulers_send_is_an_interruption():
    process = start([*LONG, "r"])
    begun("r")
    second = start(["run", "reinforce", "--resume", "r"])
    status, errors = ended(second)
    assert (status, "being trained right now" in errors) == (2, True)
    process.terminate()
    status, errors = ended(process)
    assert status == 143
    assert errors.startswith("Interrupted; everything so far is saved. Go on with:\n  pgzoo run")
    assert not list(Path("r").glob("**/*.tmp"))
    resumed = start(["run", "reinforce", "--resume", "r"])
    begun("r", Path("r/metrics.csv").stat().st_size + 1_000)
    resumed.send_signal(signal.SIGINT)
    with contextlib.suppress(ProcessLookupError):
        resumed.send_signal(signal.SIGINT)  # impatient
    status, errors = ended(resumed)
    assert status == 130
    assert errors.startswith("Interrupted; everything so far is saved.")


@pytest.mark.parametrize("wait", [0.35, 0.8, 1.5])
def test_interrupted_before_anything_is_there(wait):
    """While modules are loaded and environments made; nothing is left behind."""
    process = start([*LONG, "r"])
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    status, errors = ended(process)
    assert status in (130, -signal.SIGINT), "Python ends so what it was reading by exec"
    assert errors in ("", "Interrupted.\n") or "everything so far is saved" in errors
    assert Path("r").exists() == ("saved" in errors)


@pytest.mark.parametrize(
    ("command", "sign", "said"),
    [
        ("lab measure --env CartPole-v1 --estimates 100000 --out o", "o", "nothing was complete."),
        (
            "compare ppo rloo --env CartPole-v1 --steps 9000000 --seeds 0-1 --out o",
            "o/.unfinished/*/part*",
            "saved in o",
        ),
    ],
    ids=["lab", "compare"],
)
def test_every_command_ends_alike(command, sign, said):
    process = start(command.split(), stdout=subprocess.DEVNULL)
    while not list(Path().glob(sign)) and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.2)
    second = start(command.split())
    status, errors = ended(second)
    assert (status, "being made right now" in errors) == (2, True)
    process.terminate()
    status, errors = ended(process)
    assert status == 143
    assert errors.startswith("Interrupted")
    assert said in errors
    assert Path("o").exists() == command.startswith("compare")
    assert not list(Path().glob("**/*.tmp"))


def test_what_the_system_refuses_is_said(monkeypatch):
    from click.testing import CliRunner

    from pgzoo.cli import main

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files", "/x")

    monkeypatch.setattr("pgzoo.learning.run.load", refuse)
    result = CliRunner().invoke(main, ["eval", "r"])
    assert result.exit_code == 2
    assert "The operating system refused for /x: Too many open files." in result.output


def test_an_interruption_waits_until_torch_is_loaded(monkeypatch):
    """Its C++ code ends the process by abort() where an exception comes through."""
    module = types.ModuleType("torch.being_loaded")
    module.__spec__ = ModuleSpec("torch.being_loaded", None)
    module.__spec__._initializing = True
    monkeypatch.setitem(sys.modules, module.__name__, module)
    had = signal.signal(signal.SIGINT, streams._interrupt)
    try:
        signal.raise_signal(signal.SIGINT)
        time.sleep(2 * streams.SECONDS_LATER)
        module.__spec__._initializing = False
        with pytest.raises(KeyboardInterrupt):
            time.sleep(20)
    finally:
        signal.signal(signal.SIGINT, had)


def test_warnings_of_others_are_shown_and_not_obeyed():
    Path("mine.py").write_text(
        "import warnings\n"
        "def psi(t):\n"
        "    warnings.warn(chr(27) + '[31mred')\n"
        "    return t.mask.to(t.reward.dtype)\n"
    )
    process = start(["run", "mine.py:psi", *RUN[2:], "run", "--quiet"])
    _, shown = process.communicate()
    assert process.returncode == 0
    assert r"UserWarning: \x1b[31mred" in shown
    assert "\x1b" not in shown
