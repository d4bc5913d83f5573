"""What the command line says when an environment fails."""

import shlex

import pytest
from click.testing import CliRunner

import pgzoo.learning.loop
from pgzoo.cli import main
from tests.failing_env import ENV_ID, prepare


@pytest.mark.parametrize("word", ["raises", "workers die"])
def test_the_message_has_the_command_that_goes_on(tmp_path, monkeypatch, word):
    how = prepare(monkeypatch, tmp_path)
    out = tmp_path / "it's here"
    iterate, passed = pgzoo.learning.loop.Trainer.iterate, []

    def fail(trainer, state):
        passed.append(state.iteration)
        if len(passed) == 3:
            how.write_text(word)
        return iterate(trainer, state)

    monkeypatch.setattr(pgzoo.learning.loop.Trainer, "iterate", fail)
    options = f"--env {ENV_ID} --policy tabular --seeds 2,7 --episodes 8 --steps 800 --quiet"
    command = ["run", "reinforce", *options.split(), "--out", str(out)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "iteration 2, seeds 2, 7" in result.output
    assert f"pgzoo run reinforce --resume {shlex.quote(str(out))}" in result.output
    assert "pgzoo/" not in result.output.replace(str(out), ""), "no traceback of ours"
    assert ("no such luck" in result.output) == (word == "raises")
    how.unlink()
    result = CliRunner().invoke(main, ["run", "reinforce", "--resume", str(out), "--quiet"])
    assert result.exit_code == 0, result.output
