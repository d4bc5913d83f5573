"""`pgzoo compare`: what it prints, what it leaves, how it goes on."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import pgzoo
from pgzoo.cli import main
from pgzoo.learning import local
from tests.compare.comparing import here

SMALL = "--env CartPole-v1 --seeds 0-1 --steps 300 --hidden 4 --diagnostics 0 --device cpu"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def quick(monkeypatch):
    """Training in this process, and no figures."""
    monkeypatch.setattr(local, "train_all", here)
    monkeypatch.setattr(pgzoo.Comparison, "illustrations", lambda self: [])


def command(text, status=0):
    result = CliRunner().invoke(main, text.split())
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


@pytest.mark.usefixtures("quick")
def test_tables_verdicts_and_where_the_report_is():
    output = command(f"compare reinforce ppo:lam=0.9 {SMALL}")
    assert "reinforce: 100%" in output
    assert "reinforce, ppo:lam=0.9 on CartPole-v1, best first" in output
    assert "• reinforce and ppo:lam=0.9: " in output
    assert "Fewer than 5 seeds give no interval" in output
    assert "Report: comparisons/CartPole-v1-1/report.html" in output


@pytest.mark.usefixtures("quick")
def test_the_same_command_trains_nothing_twice():
    command(f"compare reinforce ppo {SMALL}")
    output = command(f"compare reinforce ppo {SMALL}")
    assert "100%" not in output
    assert "comparisons/CartPole-v1-1/" in output
    assert "comparisons/CartPole-v1-2/" in command(f"compare reinforce rloo {SMALL}")


@pytest.mark.usefixtures("quick")
def test_compare_json_has_the_command_that_repeats_it():
    command(f"compare reinforce ppo {SMALL} --quiet --no-reuse --out c")
    text = Path("c/compare.json").read_text()
    typed = re.search(r'"command": "(.*)"', text)[1]
    assert typed.startswith("pgzoo compare reinforce ppo --env CartPole-v1 --seeds 0-1")
    assert "--hidden 4" in typed
    assert "--no-reuse" in typed
    Path("c").rename("before")
    command(typed.removeprefix("pgzoo "))
    assert Path("c/compare.json").is_file()


@pytest.mark.usefixtures("quick")
def test_quiet_is_quiet():
    assert command(f"compare reinforce ppo {SMALL} --quiet --out c") == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("ppo rloo", "Expected --env, such as `pgzoo compare ppo rloo --env CartPole-v1`"),
        (f"ppo {SMALL}", "at least two contenders"),
        (f"ppo ppo:lam=0.95 {SMALL}", "every contender once"),
        (f"ppo rlo {SMALL}", "Unknown agent 'rlo'"),
        (f"ppo rloo:lamb=1 {SMALL}", "Unknown option --lamb"),
        (
            f"ppo rloo {SMALL} --lam 0.9",
            "as part of an agent's name, as in actor-critic:lam=…",
        ),
        (f"ppo rloo {SMALL} --colour red", "No such option '--colour'"),
        (f"ppo rloo {SMALL} --on mars", "Expected --on to be local, ray or"),
        (f"ppo rloo {SMALL} --until-decided 3", "Expected --until-decided of at least twice"),
        (f"ppo rloo {SMALL} --no-reuse --reuse runs", "--reuse or --no-reuse, got both"),
        (f"ppo rloo {SMALL} --reuse nowhere", "Expected --reuse to be a run"),
        (f"ppo nowhere.py:mine {SMALL}", "nowhere.py to be a Python file"),
    ],
)
def test_what_cannot_be_compared_is_said_without_a_traceback(arguments, message):
    assert message in command(f"compare {arguments}", status=2)
    assert not any(Path().iterdir())


def test_help_needs_no_torch():
    code = (
        "import sys; from click.testing import CliRunner; from pgzoo.cli import main; "
        "CliRunner().invoke(main, ['compare', '--help'], catch_exceptions=False); "
        "assert 'torch' not in sys.modules and 'gymnasium' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another thing there")
def test_ctrl_c_keeps_everything_and_the_same_command_goes_on():
    """In worker processes, as a user has it."""
    words = f"compare reinforce rloo {SMALL} --steps 8000 --workers 1".split()
    process = subprocess.Popen(
        [sys.executable, "-m", "pgzoo", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    begun = process.stdout.readline()
    assert begun.startswith("reinforce: ")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "saved in comparisons/CartPole-v1-1" in errors
    assert "pgzoo compare reinforce rloo --env CartPole-v1" in errors
    assert "Traceback" not in errors
    done = subprocess.run(
        [sys.executable, "-m", "pgzoo", *words, "--quiet"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [p.name for p in Path("comparisons").iterdir()] == ["CartPole-v1-1"]
    assert Path("comparisons/CartPole-v1-1/figures/overview.png").stat().st_size > 0
    assert Path("comparisons/CartPole-v1-1/report.html").stat().st_size > 0
