import json

import pytest
from click.testing import CliRunner

from pgzoo.cli import main

FILE = """
def right(t):
    return (t.reward * t.mask).flip(-1).cumsum(-1).flip(-1)

def wrong(t):
    return -right(t)

def discounted(t):
    powers = 0.9 ** __import__("torch").arange(t.mask.shape[-1])
    return right(t.scale_rewards(powers))

def broken(t):
    return t.reward.no_such_thing
"""


@pytest.fixture
def run(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FILE)

    def call(function, *arguments):
        return CliRunner().invoke(main, ["check", f"{file}:{function}", *arguments])

    return call


def test_exit_status(run):
    right = run("right", "--group-size", "4")
    assert right.exit_code == 0
    assert "is right: unbiased for ∇J" in right.output
    wrong = run("wrong", "--group-size", "1", "--episodes", "6")
    assert wrong.exit_code == 1
    assert "wrong-sign" in wrong.output
    broken = run("broken")
    assert broken.exit_code == 2
    assert "mine.py:13: AttributeError" in broken.output
    assert run("right", "--group-size", "3", "--episodes", "8").exit_code == 2


def test_json_alone(run):
    found = run("discounted", "--gamma", "0.9", "--json")
    assert found.exit_code == 0
    plain = json.loads(found.stdout)
    assert plain["verdict"] == "right"
    assert "γ = 0.9" in plain["objective"]
    assert json.loads(run("wrong", "--json").stdout)["findings"][0]["name"] == "wrong-sign"
