import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from pgzoo.agents import AGENTS
from pgzoo.cli import main
from pgzoo.cli.values import parse_seeds
from pgzoo.errors import UsageError
from pgzoo.records.run_folder import RunFolder

SMALL = "--env CartPole-v1 --seeds 0-2 --steps 1000 --hidden 8 --episodes 4"
FOLDER = "runs/reinforce_episodes_4_steps_1000_hidden_8-CartPole-v1"
PGZOO = [sys.executable, "-m", "pgzoo"]


def pgzoo(command, status=0):
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    if status == 2:
        assert isinstance(result.exception, SystemExit)
    return result.output


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_run_prints_progress_a_table_and_what_to_try_next():
    output = pgzoo(f"run reinforce {SMALL}")
    assert "100%" in output
    assert "steps/s" in output
    assert "solved (mean ≥ 475): 0 of 3 seeds" in output
    assert "pgzoo tensorboard runs" in output
    assert f"pgzoo eval {FOLDER}-1" in output
    assert f"pgzoo watch {FOLDER}-1" in output
    assert json.loads(Path(f"{FOLDER}-1/summary.json").read_text())


def test_the_next_run_gets_the_next_number():
    for number in (1, 2):
        output = pgzoo(f"run reinforce {SMALL}")
        assert f"{FOLDER}-{number}" in output


def test_quiet_is_quiet():
    assert pgzoo(f"run reinforce {SMALL} --quiet") == ""


def test_eval_leaves_the_run_as_it_is():
    pgzoo(f"run reinforce {SMALL} --out r")
    before = {p: p.read_bytes() for p in Path("r").rglob("*") if p.is_file()}
    output = pgzoo("eval r --episodes 5")
    assert "5 fresh episodes" in output
    assert "sampled" in output
    assert "most probable actions" in pgzoo("eval r --greedy --episodes 5")
    assert before == {p: p.read_bytes() for p in Path("r").rglob("*") if p.is_file()}


def test_the_readme_has_the_table_of_the_zoo():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    table = re.search(r"<!-- zoo -->\n(.*?)\n<!-- end of zoo -->", readme, re.DOTALL)
    assert table[1].strip() == pgzoo("list --markdown").strip()


def test_list_names_everything():
    output = pgzoo("list")
    assert all(name in output for name in AGENTS)
    assert "Williams" in output
    assert "LunarLander-v3" in output
    assert "tabular" in output


def test_help_shows_an_agents_own_options_with_defaults_per_environment():
    plain = pgzoo("run reinforce --help")
    assert "--whole-return" in plain
    assert "--baseline" not in plain
    assert "--critic" not in plain
    with_baseline = pgzoo("run reinforce-baseline --help")
    assert "--baseline" in with_baseline
    assert "LunarLander-v3: value" in " ".join(with_baseline.split())


@pytest.mark.parametrize(
    "command", ["--help", "list", "run --help", "run ppo --help", "watch --help"]
)
def test_help_and_list_do_not_import_torch(command):
    code = (
        "import sys; from click.testing import CliRunner; from pgzoo.cli import main; "
        f"CliRunner().invoke(main, {command.split()!r}, catch_exceptions=False); "
        "assert 'torch' not in sys.modules and 'gymnasium' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("5,0-2", (5, 0, 1, 2)), (" 1 , 2 - 3 ", (1, 2, 3))],
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "non-negative whole numbers and ranges"),
        ("a", "got 'a'"),
        ("-1", "non-negative"),
        ("1,,2", "non-negative whole numbers"),
        ("1.5", "whole numbers"),
        ("3-1", "ranges to rise, got '3-1'"),
        ("1,2,1", "got 1 more than once"),
        ("0-3,2", "got 2 more than once"),
        ("0-99999999999", "at most 10,000"),
    ],
)
def test_wrong_seeds(text, message):
    with pytest.raises(UsageError, match=message):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run reinforc --env CartPole-v1", "Did you mean reinforce"),
        ("run reinforce", "Expected --env"),
        ("run reinforce --env CartPol-v1", "Did you mean CartPole-v1"),
        ("run reinforce --env Pendulum-v1", "expected Discrete actions"),
        ("run reinforce --env CliffWalking-v1", "--max-episode-steps"),
        ("run reinforce --env CartPole-v1 --policy mpl", "Did you mean mlp?"),
        ("run reinforce --env CartPole-v1 --seeds 1,1", "more than once"),
        ("run reinforce --env CartPole-v1 --seeds=-3", "non-negative"),
        (
            "run reinforce --env CartPole-v1 --steps 0",
            "--steps between 1 and 1,000,000,000,000, got 0",
        ),
        ("run reinforce --env CartPole-v1 --steps x", "not a valid integer"),
        ("run reinforce --env CartPole-v1 --steps 9" + 400 * "9", "1,000,000,000,000, got 99"),
        ("run reinforce --env CartPole-v1 --hidden 99999999999999999999", "most 2,147,483,647"),
        ("run reinforce --env CartPole-v1 --hidden 2147483647,2147483647", "GB free. Give small"),
        ("run reinforce --env CartPole-v1 --episodes 2147483647", "GB free. Give smaller batches"),
        ("run reinforce --env CartPole-v1 --episodes 2147483648", "at most 2,147,483,647"),
        ("run reinforce --env CartPole-v1 --max-episode-steps 2147483648", "most 2,147,483,647"),
        ("run reinforce --env CartPole-v1 --diagnostics 1000000000", "--diagnostics of at most 6"),
        ("run reinforce --env CartPole-v1 --learning-rate 1e-300", "between 1e-09 and 100, got"),
        ("run reinforce --env CartPole-v1 --learning-rate 1e300", "above 0 and at most 100"),
        ("run reinforce --env CartPole-v1 --max-grad-norm 1e300", "between 1e-09 and 1e+09, or 0"),
        ("run reinforce --env CartPole-v1 --entropy-coef 1e-300", "between 1e-09 and 1e+09, or 0"),
        ("run reinforce --env CartPole-v1 --gamma nan", "--gamma between 0 and 1, got nan"),
        ("run reinforce --env CartPole-v1 --seeds 0-99999999999", "at most 10,000 numbers"),
        ("run reinforce --env CartPole-v1 --seeds 0-9999,10000-19999", "at most 10,000 numbers"),
        ("run reinforce --env CartPole-v1 --seeds 9223372036854775808", "9,223,372,036,854,775,8"),
        ("run reinforce --env CartPole-v1 --seeds " + 5000 * "9", "9,223,372,036,854,775,807"),
        ("run reinforce --env CartPole-v1 --out=", "Expected --out to be a path, got ''"),
        ("run reinforce --resume=", "Expected --resume to be a path"),
        ("run reinforce --env=", "Expected --env to be an environment's id"),
        ("run reinforce --env CartPole-v1 --policy=", "Expected --policy among"),
        ("run reinforce --env CartPole-v1 --seeds=", "non-negative"),
        (
            "run reinforce --env CartPole-v1 --policy linear --hidden 8",
            "--policy mlp with --hidden",
        ),
        ("run grpo --env CartPole-v1 --kl-placement reward", "--reference with --kl-placement"),
        ("run ppo --env CartPole-v1 --psi-scale rms", "--no-standardize with --psi-scale"),
        (
            "run reinforce --env CliffWalking-v1 --max-episode-steps 9 --stop-when-solved",
            "an environment with a threshold",
        ),
        ("compare ppo rloo --env CartPole-v1 --no-reuse --any-budget", "to --reuse with --any-bu"),
        ("compare ppo rloo --env CartPole-v1 --until-decided 1000000000", "at most 10,000"),
        ("check reinforce --gamma 1e400", "--gamma between 0.01 and 1, got inf"),
        ("run reinforce --env CartPole-v1 --learning-rate 0", "--learning-rate above 0"),
        ("run reinforce --env CartPole-v1 --learning-rate nan", "--learning-rate above 0"),
        ("run reinforce --env CartPole-v1 --gamma 1.01", "--gamma between 0 and 1"),
        ("run reinforce --env CartPole-v1 --hidden 64,x", "expected widths such as 64,64"),
        ("run reinforce --env CartPole-v1 --aggregation sums", "'sums' is not one of"),
        ("run reinforce --env CartPole-v1 --group-size 4", "No such option"),
        pytest.param(
            "run reinforce --env CartPole-v1 --device cuda",
            "found none",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
        ("run reinforce --env CartPole-v1 --out afile/run", "writable --out"),
        ("run reinforce --env CartPole-v1 --gamma-t --whole-return", "discount it twice"),
        ("run rloo --env CartPole-v1 --group-size 3", "divide --episodes 16, got 3"),
        ("run rloo --env CartPole-v1 --group-size 1", "--group-size of at least 2"),
        ("run reinforce++-baseline --env CartPole-v1 --group-size 1", "at least 2"),
        ("run ppo --env CartPole-v1 --clip 1.5", "--clip above 0 and below 1, got 1.5"),
        ("run ppo --env CartPole-v1 --clip 0", "--clip above 0 and below 1, got 0"),
        ("run actor-critic --env CartPole-v1 --lam 1.1", "--lam between 0 and 1, got 1.1"),
        ("run grpo --env CartPole-v1 --kl-coef 0.1", "Expected --reference with --kl-coef 0.1"),
        ("run grpo --env CartPole-v1 --reference nothing", "Expected --kl-coef above 0"),
        ("run grpo --env CartPole-v1 --reference x --kl-coef 1", "no config.json"),
        ("run grpo --env Acrobot-v1 --policy tabular", "no discretiser"),
        ("run reinforce --resume nothing", "no config.json"),
        ("eval nothing", "no config.json"),
        ("evaluate x", "No such command"),
    ],
)
def test_bad_input_is_explained_with_status_2(command, message):
    Path("afile").write_text("")
    output = pgzoo(command, status=2)
    assert message in " ".join(output.split())
    assert not Path("runs").exists(), "nothing is left behind"


def test_an_occupied_folder_is_left_alone():
    pgzoo(f"run reinforce {SMALL} --out r")
    before = Path("r/config.json").read_bytes(), Path("r/metrics.csv").read_bytes()
    output = pgzoo(f"run reinforce {SMALL} --out r", status=2)
    assert "holds another run" in output
    assert before == (Path("r/config.json").read_bytes(), Path("r/metrics.csv").read_bytes())


def test_resuming_with_other_options_is_refused():
    pgzoo(f"run reinforce {SMALL} --out r")
    for option, message in [
        ("--steps 5", "Expected --steps 1000 as the run was started, got 5"),
        ("--seeds 0-3", "Expected --seeds 0,1,2"),
        ("--env LunarLander-v3", "Expected --env CartPole-v1"),
        ("--out elsewhere", "got both"),
    ]:
        output = pgzoo(f"run reinforce --resume r {option}", status=2)
        assert message in " ".join(output.split())
    output = pgzoo("run reinforce-baseline --resume r", status=2)
    assert "Try `pgzoo run reinforce --resume" in " ".join(output.split())
    assert "is complete" in pgzoo(f"run reinforce --resume r {SMALL}")


def test_resuming_a_damaged_checkpoint_is_refused():
    pgzoo(f"run reinforce {SMALL} --out r")
    Path("r/summary.json").unlink()
    checkpoint = Path("r/checkpoint.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    output = pgzoo("run reinforce --resume r", status=2)
    assert "checkpoint.safetensors is damaged" in " ".join(output.split())
    assert "is damaged" in " ".join(pgzoo("eval r", status=2).split())


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_saves_and_prints_the_command_to_go_on():
    command = f"run reinforce {SMALL} --out r".replace("1000", "200000").split()
    process = subprocess.Popen(
        [*PGZOO, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Programs started in the background inherit an ignored SIGINT.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    while not (Path("r/metrics.csv").exists() and Path("r/metrics.csv").stat().st_size > 10_000):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "pgzoo run reinforce --resume r" in errors
    assert "Traceback" not in errors
    assert RunFolder.open(Path("r")).load_checkpoint()[1]["iteration"] > 0
    assert not Path("r/summary.json").exists()


OFTEN = "import pgzoo.learning.loop as l; l.SECONDS_BETWEEN_CHECKPOINTS = 0.1; "
OFTEN += "from pgzoo.cli import main; main()"


def iterations(path):
    folder = RunFolder(Path(path))
    checkpoint = folder.load_checkpoint() if Path(path).exists() else None
    return 0 if checkpoint is None else checkpoint[1]["iteration"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_killed_at_any_moment_and_resumed_ends_with_the_same_files():
    """A few kills here, each after a further checkpoint; `benchmarks/kills.py` does a hundred."""
    command = f"run reinforce-baseline {SMALL} --quiet --out".replace("1000", "30000").split()
    program = [sys.executable, "-c", OFTEN]
    subprocess.run([*program, *command, "whole"], check=True)
    process = subprocess.Popen([*program, *command, "parts"])
    reached = 0
    for pause in (0.0, 0.13, 0.31):
        while (now := iterations("parts")) <= reached and process.poll() is None:
            time.sleep(0.01)
        reached = now
        time.sleep(pause)
        assert process.poll() is None, "there is something to kill"
        process.kill()
        process.wait()
        process = subprocess.Popen(
            [*program, *["run", "reinforce-baseline", "--quiet", "--resume", "parts"]]
        )
    assert 0 < reached < iterations("whole")
    assert process.wait(timeout=120) == 0
    for name in ("metrics.csv", "checkpoint.safetensors", "config.json"):
        assert Path("whole", name).read_bytes() == Path("parts", name).read_bytes(), name


LAB = "--env FrozenLake-v1 --policy tabular --max-episode-steps 20 --trajectories 8 --estimates 20"


def test_lab_measure_prints_a_table_and_leaves_files():
    output = pgzoo(f"lab measure {LAB} --group-size 4 --estimator rloo --estimator grpo --out lab")
    assert "g* is exact" in output
    assert "rloo" in output
    names = {p.name for p in Path("lab").iterdir()}
    assert names == {"lab.json", "lab.csv", "lab.png", "lab.pdf", "tensorboard"}
    result = json.loads(Path("lab/lab.json").read_text())
    assert [row["estimator"] for row in result["rows"]] == ["rloo", "grpo"]
    assert "holds results" in pgzoo(f"lab measure {LAB} --group-size 4 --out lab", 2)


@pytest.mark.parametrize("study", ["discount", "group-size", "drift", "rescaling", "measure"])
def test_tables_of_the_laboratory_fit_80_columns(study, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    budget = "--estimates 12 --reference-estimates 12 --critic-trajectories 16 --hidden 4"
    output = pgzoo(f"lab {study} --env CartPole-v1 --max-episode-steps 9 {budget} --out lab")
    heads = {"drift": "squared variance direction", "measure": "steps MSE verdict"}
    for word in heads.get(study, "direction scale variance").split():
        assert re.search(rf"\b{word}\b", output.partition("sampling …")[2])
    if study in ("measure", "rescaling"):
        assert re.search(r"\btoo noisy to\s+say\b", output)


def test_lab_takes_policies_of_runs_and_of_files():
    pgzoo(f"run reinforce {SMALL} --out run --quiet")
    small = "--trajectories 8 --estimates 4 --critic-trajectories 8 --estimator reinforce"
    output = pgzoo(f"lab measure --run run --at 50 --replica 1 {small} --out a")
    assert "reinforce, seed 1, 50 % of training" in output
    Path("run/snapshots/050.safetensors").unlink()
    message = "Expected a snapshot of run at 50 percent; there are: 0, 10, 20, 30, 40, 60"
    assert message in pgzoo(f"lab measure --run run --at 50 {small}", 2), "no other in its place"
    assert "Expected a seed of run" in pgzoo(f"lab measure --run run --replica 7 {small}", 2)
    safetensors.torch.save_file({"theta": torch.zeros(64)}, "theta.safetensors")
    output = pgzoo(f"lab measure {LAB} --theta theta.safetensors --estimator reinforce --out b")
    assert "given parameters" in output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("lab measure", "Expected either --env or --run"),
        ("lab measure --env CartPole-v1 --run r", "got both"),
        ("lab measure --env CartPole-v1 --at 50", "Expected --run with --at"),
        ("lab measure --run nowhere", "has no config.json"),
        ("lab measure --env CartPol-v1", "Did you mean CartPole-v1"),
        ("lab measure --env CliffWalking-v1 --policy tabular", "no time limit"),
        (f"lab measure {LAB} --estimator rlo", "Did you mean rloo"),
        (f"lab measure {LAB} --theta nowhere.safetensors", "to be a safetensors file"),
        (f"lab measure {LAB} --group-size 3", "groups of 3"),
        (f"lab measure {LAB} --gamma 1.5", "between 0 and 1, got 1.5"),
        (f"lab measure {LAB} --limit continues", "got 1: what follows the time"),
        ("lab training --env CartPole-v1 --estimates 2", "follows the policy of a training run"),
        ("lab nonsense", "No such command"),
        (f"lab measure {LAB} --estimator mine.py", "which of its functions"),
        ("run mine.py --env CartPole-v1", "which of its functions"),
        (f"lab batch-size {LAB}", "Expected no --trajectories"),
        (f"lab group-size {LAB} --group-size 4", "Expected no --group-size"),
        (f"lab group-size {LAB}", "multiple of 32"),
        ("lab discount --env CartPole-v1 --gamma 0.5", "Expected no --gamma"),
        ("lab training --run nowhere --at 50", "Expected no --at"),
        ("lab measure --env CartPole-v1 --theta t --replica 1", "--theta or --replica"),
        (f"lab measure {LAB} --policy=", "Expected --policy among"),
        (f"lab measure {LAB} --out=", "Expected --out to be a path"),
        (f"lab measure {LAB} --estimator reinforce --group-size 4", "samples in groups with"),
        (f"lab measure {LAB} --estimator rloo --critic same", "that has a critic with --critic"),
        (f"lab measure {LAB} --estimator rloo --critic-trajectories 9", "with a separate critic"),
        (f"lab measure {LAB} --reference-estimates 9", "gradient is not known exactly with"),
        (f"lab measure {LAB} --estimator ppo:clip=0.1", "Expected no --clip, got ppo:clip=0.1"),
        (f"lab measure {LAB} --estimator ppo:psi_scale=rms", "--no-standardize with --psi-scale"),
        (f"lab gae {LAB} --group-size 4", "samples in groups with --group-size"),
        (f"lab aggregation {LAB} --critic same", "that has a critic with --critic"),
        (f"lab measure {LAB} --estimates 1", "--estimates of at least 2, got 1"),
        (f"lab measure {LAB} --hidden 8", "--policy mlp with --hidden"),
        (f"lab drift {LAB.replace('steps 20', 'steps 3')}", "gradient that is not zero"),
    ],
)
def test_lab_errors_are_clear(command, message):
    output = " ".join(pgzoo(command, 2).split())
    assert message in output


def test_an_interruption_while_the_figure_is_drawn(monkeypatch):
    """The tables are there by then, and that is what is said."""

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("pgzoo.records.style.save", interrupted)
    output = pgzoo(f"lab measure {LAB} --estimator reinforce --out lab", 130)
    assert "what was complete is in lab" in output
    assert Path("lab/lab.csv").exists()


def test_an_error_leaves_no_folders_but_those_that_were_there():
    Path("mine").mkdir()
    for out in ("a/b/c", "mine"):
        pgzoo(f"lab measure {LAB} --estimator rlo --out {out}", 2)
    pgzoo(f"lab measure {LAB} --estimator rlo", 2)
    assert [p.name for p in Path().iterdir()] == ["mine"]


def test_returns_that_are_all_equal_leave_a_critic_nothing_to_explain():
    equal = LAB.replace("steps 20", "steps 3")
    estimator = "--estimator reinforce-baseline:baseline=value"
    assert "nothing to explain" in pgzoo(f"lab measure {equal} {estimator} --out lab")
    assert json.loads(Path("lab/lab.json").read_text())["explained_variance"] == {"state": None}


def test_a_user_s_estimator_is_trained_with():
    Path("mine.py").write_text("def mine(t):\n    return t.reward.cumsum(-1)\n")
    output = pgzoo("run mine.py:mine --env CartPole-v1 --seeds 0-1 --steps 300 --hidden 4")
    folder = "runs/mine_steps_300_hidden_4-CartPole-v1-1"
    assert folder in output
    assert "mine.py:mine" in pgzoo("run mine.py:mine --help")
    Path("mine.py").unlink()
    # A run folder runs no program.
    pgzoo(f"eval {folder} --episodes 2")


def test_a_run_folder_never_runs_a_program():
    Path("mine.py").write_text("def mine(t):\n    return t.reward\n")
    pgzoo("run mine.py:mine --env CartPole-v1 --seeds 0 --steps 100 --hidden 4 --out run --quiet")
    Path("mine.py").write_text("raise SystemExit('the program ran')\n")
    pgzoo("eval run --episodes 2")
    small = "--trajectories 8 --estimates 2 --critic-trajectories 8 --estimator reinforce"
    pgzoo(f"lab measure --run run {small}")


def test_the_example_of_the_readme_can_be_measured_and_trained_with():
    example = Path(__file__).parents[2] / "examples" / "median_baseline.py"
    spec = f"{example}:median_baseline"
    output = pgzoo(f"lab measure {LAB} --estimator {spec}:group_size=4 --estimator rloo")
    assert "median_baseline" in output
    pgzoo(f"run {spec} --env CartPole-v1 --seeds 0 --steps 300 --group-size 4 --hidden 4 --quiet")


def test_diagnostics_are_logged_as_often_as_they_are_asked_for_and_not_with_0():
    pgzoo(f"run reinforce {SMALL} --diagnostics 2 --compare-estimators --out a --quiet")
    rows = list(csv.DictReader(Path("a/metrics.csv").read_text().splitlines()))
    filled = {r["iteration"] for r in rows if r["gradient_variance"]}
    assert len(filled) == 3, "the first iteration, and where each half of the steps is passed"
    assert any(r["gradient_variance_of_reinforce-baseline_batch-mean"] for r in rows)
    pgzoo(f"run reinforce {SMALL} --diagnostics 0 --out b --quiet")
    assert "gradient_variance" not in Path("b/metrics.csv").read_text().splitlines()[0]


def test_brackets_in_names_are_no_markup():
    Path("[b]").mkdir()
    Path("[b]/mine.py").write_text("def mine(t):\n    return t.reward\n")
    options = "--env CartPole-v1 --seeds 0 --steps 500"
    assert "mk[/3]" in pgzoo(f"run [b]/mine.py:mine {options} --out mk[/3]")
    assert "is complete" in pgzoo("run [b]/mine.py:mine --resume mk[/3]")
    assert "[b]/mine.py:mine on" in " ".join(pgzoo("eval mk[/3] --episodes 2").split())
    assert "mine" in pgzoo(f"lab measure {LAB} --estimator [b]/mine.py:mine --out lab[/1]")


def test_a_run_that_began_an_instant_before_is_left_alone(monkeypatch):
    create = RunFolder.create

    def second(path, config):
        create(path, config)
        return create(path, config)

    monkeypatch.setattr(RunFolder, "create", second)
    assert "holds another run" in pgzoo(f"run reinforce {SMALL} --out r", 2)
    assert Path("r/config.json").exists()


def test_an_estimator_that_fails_at_once_leaves_no_run():
    Path("mine.py").write_text("def mine(t):\n    return t.colour\n")
    output = pgzoo("run mine.py:mine --env CartPole-v1 --seeds 0 --steps 500 --out r", 2)
    assert "mine.py:2" in output
    assert not Path("r").exists()


def test_a_resumed_run_keeps_to_its_tensorboard_runs():
    pgzoo(f"run reinforce {SMALL} --quiet --out plain")
    output = pgzoo("run reinforce --resume plain --tensorboard-seeds", status=2)
    assert "Expected --tensorboard-seeds no as the run was started, got yes" in output
    pgzoo(f"run reinforce {SMALL} --quiet --out each --tensorboard-seeds")
    assert len(list(Path("each").glob("seed-*"))) == 3
    pgzoo("run reinforce --resume each --tensorboard-seeds")


def test_an_estimator_that_fails_at_once_leaves_nothing():
    Path("mine.py").write_text("def mine(t):\n    return open('nowhere')\n")
    output = pgzoo("run mine.py:mine --env CartPole-v1 --seeds 0 --steps 100 --hidden 4", 2)
    assert "mine.py:2: FileNotFoundError" in output
    assert not Path("runs").exists()


def test_an_estimator_that_fails_late_can_be_gone_on_with():
    Path("my file.py").write_text(
        "from pathlib import Path\n"
        "calls = 0\n"
        "def mine(t):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    if calls == 4 and not Path('table').exists():\n"
        "        raise ValueError('no `table` \\x1b[2J')\n"
        "    return t.reward\n"
    )
    options = shlex.split(f"run 'my file.py:mine' {SMALL} --diagnostics 0 --quiet --out 'a run'")
    failed = CliRunner().invoke(main, options)
    assert failed.exit_code == 2
    assert isinstance(failed.exception, SystemExit)
    assert "Traceback" not in failed.output
    shown = re.search(
        r"my file\.py:7: ValueError: no 'table' \\x1b\[2J\n    raise ValueError\(.*\n"
        r"This was in iteration 3, seeds 0-2\. .*saved in a run\. (?s:.*):\n  pgzoo (.*)\n$",
        failed.output,
    )
    assert shown is not None, failed.output
    assert not list(Path("a run").glob("*.tmp"))
    Path("table").touch()
    resumed = CliRunner().invoke(main, [*shlex.split(shown[1]), "--quiet"])
    assert resumed.exit_code == 0, resumed.output
    options[-1] = "whole"
    assert CliRunner().invoke(main, options).exit_code == 0
    files = [Path(f, "metrics.csv").read_bytes() for f in ("a run", "whole")]
    assert files[0] == files[1]
