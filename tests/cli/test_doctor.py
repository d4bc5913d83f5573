import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pgzoo.cli import main
from tests.helpers import train_small


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return train_small("run", seeds=1).path


def doctor(*words, status):
    result = CliRunner().invoke(main, ["doctor", *map(str, words)])
    assert result.exit_code == status, result.output
    return result.output


def test_a_healthy_run_ends_with_status_0(run):
    output = doctor(run, "--evaluate", status=0)
    assert "done again" in output
    assert "✗" not in output


def test_a_damaged_run_ends_with_status_1_and_says_what_can_be_done(run):
    (run / "checkpoint.safetensors").write_bytes(b"nothing")
    found = json.loads(doctor(run, "--json", status=1))
    assert not found["healthy"]
    possible = {v["action"]: v["possible"] for v in found["verdicts"]}
    assert not possible["evaluate"]
    assert possible["resume"]
    assert possible["tensorboard"]
    assert "✗" in doctor(run, status=1)


def test_what_is_no_run_ends_with_status_2(run):
    assert "such as" in doctor(".", status=2)
    assert "no folder" in doctor("nowhere", status=2)
    assert Path("run/summary.json").exists()
