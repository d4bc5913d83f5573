"""The Python API: what a notebook does."""

import json
import sys
import types

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from pgzoo_envs import EnvError

import pgzoo
from pgzoo.learning import progress as progress_module
from pgzoo.learning.progress import fitting
from pgzoo.records.run_folder import RunFolder
from tests.helpers import signed_again

mpl.use("Agg")
SMALL = {
    "env": "CartPole-v1",
    "seeds": 3,
    "steps": 600,
    "hidden": (8,),
    "episodes": 4,
    "progress": False,
}


def train(agent="reinforce", **options):
    chosen = SMALL | options
    return pgzoo.train(agent, **{k: v for k, v in chosen.items() if (k, v) != ("hidden", None)})


def whole_return(t):
    return (t.reward * t.mask).sum(-1, keepdim=True).expand(t.mask.shape)


def test_a_run_is_the_reference_of_another():
    run = train()
    near = train("grpo", group_size=2, reference=run.path, kl_coef=0.1)
    assert near.config.hyperparameters["reference"] == str(run.path)
    assert near.summary["failed"] == [None, None, None]


def test_a_run_is_an_object():
    run = train()
    assert run.summary["seeds"] == [0, 1, 2]
    assert isinstance(run.metrics, pd.DataFrame)
    assert set(run.metrics.seed) == {0, 1, 2}
    assert run.metrics.groupby("seed").env_steps.max().tolist() == run.summary["env_steps_per_seed"]
    assert run.path.exists()
    assert "complete" in repr(run)
    assert "reinforce" in run._repr_html_()
    assert str(run.path) in run._repr_html_()


def test_a_temporary_folder_goes_with_its_run():
    run = train()
    path = run.path
    del run
    assert not path.exists()


def test_runs_of_python_and_of_folders_are_the_same(tmp_path):
    run = train(out=tmp_path / "run")
    again = pgzoo.load(tmp_path / "run")
    assert again.summary == run.summary
    pd.testing.assert_frame_equal(again.metrics, run.metrics)
    with pytest.raises(pgzoo.UsageError, match=r"no config.json"):
        pgzoo.load(tmp_path)
    with pytest.raises(pgzoo.UsageError, match="holds another run"):
        train(out=tmp_path / "run")


@pytest.mark.parametrize("seeds", [[4, 7], (4, 7), range(4, 8, 3), np.array([4, 7])])
def test_seeds_are_a_number_or_any_iterable(seeds):
    assert train(seeds=seeds).config.seeds == (4, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "`seeds`"),
        ({"seeds": [1, 1]}, "1 more than once"),
        ({"seeds": [-1]}, "`seeds` between 0 and"),
        ({"policy": "mpl"}, "Did you mean mlp"),
        ({"grup_size": 3}, "Unknown option `grup_size`"),
        ({"device": "gpu"}, "`device` among auto, cpu, cuda"),
        ({"progress": "loud"}, "`progress` among"),
        ({"diagnostics": 0, "compare_estimators": True}, "`diagnostics` above 0"),
        ({"diagnostics": -1}, "`diagnostics` of at least 0"),
        ({"env": "CliffWalking-v1"}, "`max_episode_steps`"),
    ],
)
def test_errors_are_those_of_the_command_line_without_its_dashes(options, message, tmp_path):
    with pytest.raises(pgzoo.UsageError, match=message) as raised:
        train(out=tmp_path / "run", **options)
    assert "--" not in str(raised.value)
    assert options.get("progress") or not (tmp_path / "run").exists()


def test_evaluation_is_a_table_of_returns():
    run = train()
    returns = run.evaluate(episodes=7)
    assert returns.shape == (7, 3)
    assert list(returns.columns) == [0, 1, 2]
    pd.testing.assert_frame_equal(returns, run.evaluate(episodes=7))
    np.testing.assert_allclose(run.evaluate(100).mean(), run.summary["eval_mean"])
    assert not returns.equals(run.evaluate(episodes=7, greedy=True))
    with pytest.raises(pgzoo.UsageError, match="`episodes` of at least 1"):
        run.evaluate(episodes=0)


def test_failed_seeds_are_named_and_not_evaluated(monkeypatch):
    from pgzoo.learning import trainer

    learn = trainer.learn

    def spoil(agent, learners, outputs, progress, generators):
        learners, metrics = learn(agent, learners, outputs, progress, generators)
        if len(generators) == 3:
            learners.policy.values[1] = torch.inf
        return learners, metrics

    monkeypatch.setattr(trainer, "learn", spoil)
    run = train()
    assert list(run.failed) == [1]
    returns = run.evaluate(episodes=3)
    assert returns[1].isna().all()
    assert returns[[0, 2]].notna().all(axis=None)


@pytest.mark.parametrize("policy", ["mlp", "linear", "tabular"])
def test_a_policy_acts_on_one_observation_and_on_many(policy):
    run = train(policy=policy, hidden=(8,) if policy == "mlp" else None)
    acting = run.policy(seed=2)
    obs = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    many = acting.probabilities(obs)
    assert many.shape == (5, 2)
    np.testing.assert_allclose(many.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(acting.probabilities(obs[3]), many[3], rtol=1e-6)
    assert acting.act(obs).shape == (5,)
    assert isinstance(acting.act(obs[0]), int)
    assert acting.act(obs, greedy=True).tolist() == many.argmax(-1).tolist()
    draws = acting.act(np.repeat(obs[:1], 4_000, axis=0))
    assert draws.mean() == pytest.approx(many[0, 1], abs=0.04)
    with pytest.raises(pgzoo.UsageError, match=r"shape \[4\].*got \[3\]"):
        acting.act(obs[0, :3])
    with pytest.raises(pgzoo.UsageError, match="Expected a `seed`"):
        run.policy(seed=9)


def test_policies_of_finite_environments_take_states():
    run = train(env="FrozenLake-v1", policy="tabular", hidden=None)
    assert run.policy().probabilities(3).shape == (4,)
    assert run.policy().act([0, 1, 2]).shape == (3,)


def test_a_function_is_an_agent():
    run = train(whole_return, group_size=2)
    assert run.config.agent == "whole_return"
    assert run.config.estimator_sha256
    plain = train("reinforce", whole_return=True, gamma=1.0, lr_schedule="constant")
    mine = train(whole_return, gamma=1.0)
    assert mine.summary["eval_mean"] == plain.summary["eval_mean"]


def test_a_callback_stops_the_run_and_it_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = train(steps=1_000)
    stopped = train(steps=1_000, out=tmp_path / "run", callback=lambda r: r.iteration == 2)
    assert stopped.summary is None
    assert "not complete" in repr(stopped)
    assert "not complete" in stopped._repr_html_()
    assert stopped.evaluate(episodes=2).shape == (2, 3), "its last checkpoint can be evaluated"
    stopped.resume(progress=False)
    assert stopped.summary["eval_mean"] == whole.summary["eval_mean"]
    pd.testing.assert_frame_equal(stopped.metrics, whole.metrics)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    def interrupt(report):
        if report.iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(pgzoo.TrainingInterrupted, match=r"pgzoo.load\('.*run'\).resume\(\)"):
        train(steps=1_000, out=tmp_path / "run", callback=interrupt)
    run = pgzoo.load(tmp_path / "run").resume(progress=False)
    assert run.summary["eval_mean"] == train(steps=1_000).summary["eval_mean"]


def test_runs_of_a_function_go_on_with_that_function_alone(tmp_path):
    run = train(whole_return, out=tmp_path / "run", callback=lambda r: True)

    def other(t):
        return t.reward

    with pytest.raises(pgzoo.UsageError, match="Give it to `resume`"):
        run.resume()
    with pytest.raises(pgzoo.UsageError, match="the agent that the run was started with"):
        run.resume(other)
    other.__name__ = "whole_return"
    with pytest.raises(pgzoo.UsageError, match="its source has changed"):
        run.resume(other)
    assert run.resume(whole_return, progress=False).summary is not None


def test_hyperparameters_of_another_version_are_explained(tmp_path):
    run = train(out=tmp_path / "run", callback=lambda r: True)
    path = run.path / "config.json"
    options = json.loads(path.read_text())["hyperparameters"]
    for changed, message in (
        (options | {"colour": 1}, "Unknown option `colour`"),
        (options | {"learning_rate": -1}, "Expected `learning_rate` above 0"),
        (options | {"learning_rate": "x" * 5000}, "Expected `learning_rate` to be a number"),
        ({k: v for k, v in options.items() if k != "gamma"}, 'the option "gamma" is missing'),
    ):
        signed_again(path, hyperparameters=changed)
        with pytest.raises(pgzoo.UsageError, match=rf"config\.json is damaged: {message}"):
            pgzoo.load(run.path)


def test_a_run_trained_on_cuda_is_evaluated_and_resumed_without(tmp_path, monkeypatch):
    from pgzoo.learning import run as run_module

    monkeypatch.setattr(run_module, "choose_device", lambda name: "cuda")
    config, agent = run_module.configure("reinforce", **_settings())
    monkeypatch.undo()
    assert config.device == "cuda"
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    from pgzoo.learning.trainer import Trainer

    run = run_module.Run(RunFolder.create(tmp_path / "run", config))
    run.go_on(Trainer(config, agent, "cpu"), False, lambda r: r.iteration == 2)
    assert run.evaluate(episodes=2).notna().all(axis=None)
    assert run.resume(progress=False).summary["failed"] == [None] * 3


def _settings():
    values = {k: v for k, v in SMALL.items() if k != "progress"}
    return values | {
        "policy": "mlp",
        "device": "auto",
        "max_episode_steps": None,
        "stop_when_solved": False,
        "diagnostics": 0,
        "compare_estimators": False,
    }


def test_a_plot_has_a_band_from_five_seeds_on():
    axes = train(seeds=5).plot()
    assert len(axes.lines) == 1, "what the seeds come to"
    assert len(axes.collections[0].get_paths()) == 5, "every seed"
    assert len(axes.collections) == 2, "and the band"
    assert "environment steps" in axes.get_xlabel()
    few = train(seeds=2).plot()
    assert len(few.collections) == 1, "no band"


@pytest.mark.parametrize("manner", ["rich", "tqdm", "lines", "none", False])
def test_progress_can_be_shown_in_every_manner(manner, capsys):
    train(progress=manner)
    out, err = capsys.readouterr()
    assert bool(out + err) == (manner not in ("none", False))


def test_a_notebook_gets_tqdm(monkeypatch):
    class Shell:
        config = types.MappingProxyType({"IPKernelApp": {}})

    monkeypatch.setitem(
        progress_module.sys.modules, "IPython", type("M", (), {"get_ipython": lambda: Shell})
    )
    assert fitting() == "tqdm"


def test_a_checkpoint_of_another_network_is_refused():
    from pgzoo.records.run_folder import RunFolder

    run = train(callback=lambda r: True)
    folder = RunFolder.open(run.path)
    tensors, state = folder.load_checkpoint()
    wide = {k: torch.cat([v, v], dim=1) if "count" not in k else v for k, v in tensors.items()}
    for wrong in (wide, tensors | {"policy.mean": tensors["policy.mean"][:, 1:]}):
        folder.save_checkpoint(wrong, state)
        for use in (run.evaluate, run.policy, run.resume):
            with pytest.raises(pgzoo.UsageError, match="does not belong to this run"):
                use()


def test_only_so_many_seeds_are_tensorboard_runs_of_their_own(tmp_path):
    message = "at most 100 `seeds` with `tensorboard_seeds`, got 101"
    with pytest.raises(pgzoo.UsageError, match=message):
        train(seeds=101, out=tmp_path / "run", tensorboard_seeds=True)
    assert not (tmp_path / "run").exists()


def test_training_in_parts_leaves_the_same_files(monkeypatch, tmp_path):
    from pgzoo.sampling import memory

    def files(name):
        out = tmp_path / name
        pgzoo.train(
            "rloo",
            env="CartPole-v1",
            seeds=7,
            steps=900,
            hidden=(8, 8),
            compare_estimators=True,
            out=out,
            progress=False,
        )
        names = ["metrics.csv", "checkpoint.safetensors", *sorted((out / "snapshots").iterdir())]
        return [(out / n).read_bytes() for n in names]

    whole = files("whole")
    monkeypatch.setattr(memory, "ROWS_AT_ONCE", 48)
    assert files("parts") == whole


def test_no_folder_has_a_module_imported(tmp_path, monkeypatch):
    """An id of Gymnasium may name a module, and a stranger's configuration any id."""
    (tmp_path / "evil_module.py").write_text("raise SystemExit('owned')")
    monkeypatch.syspath_prepend(tmp_path)
    run = train(out=tmp_path / "run", callback=lambda r: True)
    signed_again(run.path / "config.json", env="evil_module:CartPole-v1")
    checkpoint, path = run.path / "checkpoint.safetensors", run.path
    checkpoint.unlink()
    for use in (
        lambda: pgzoo.load(path).evaluate(2),
        lambda: pgzoo.load(path).policy(at=0),
        lambda: pgzoo.load(path).resume(),
        lambda: pgzoo.measure(run=path),
        lambda: pgzoo.train("reinforce", **SMALL | {"env": "evil_module:CartPole-v1"}),
    ):
        with pytest.raises((pgzoo.UsageError, EnvError)):
            use()
    assert "evil_module" not in sys.modules


def test_no_folder_has_another_one_read(tmp_path):
    """Where the reference was is a path in the configuration; what it was is in the checkpoint."""
    reference = train(out=tmp_path / "reference")
    options = {"group_size": 2, "kl_coef": 0.1, "callback": lambda r: True}
    run = train("rloo", out=tmp_path / "run", reference=str(reference.path), **options)
    reference.path.rename(tmp_path / "elsewhere")
    run = pgzoo.load(run.path)
    assert run.resume(progress=False).summary is not None
    (run.path / "summary.json").unlink()
    (run.path / "checkpoint.safetensors").unlink()
    (tmp_path / "elsewhere").rename(reference.path)
    with pytest.raises(pgzoo.UsageError, match="hold the policies of its `reference`"):
        pgzoo.load(run.path).resume(progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env_steps": 600}, r'"replicas\[1\]\.finished" to be true'),
        ({"finished": True}, r'"replicas\[1\]\.finished" to be false'),
    ],
)
def test_a_state_that_no_training_comes_to_is_refused(tmp_path, changes, message):
    run = train(out=tmp_path / "run", callback=lambda r: True)
    folder = RunFolder.open(run.path)
    tensors, state = folder.load_checkpoint()
    state["replicas"][1] |= changes
    folder.save_checkpoint(tensors, state)
    for use in (run.evaluate, run.resume):
        with pytest.raises(pgzoo.UsageError, match=f"does not belong to this run: .*{message}"):
            use()


@pytest.mark.parametrize("agent", ["ppo", "reinforce"])
def test_a_state_of_another_agent_is_refused(tmp_path, agent):
    other = {"ppo": "reinforce", "reinforce": "ppo"}[agent]
    chosen = {k: v for k, v in SMALL.items() if k != "episodes"}
    run, foreign = (
        pgzoo.train(name, out=tmp_path / name, callback=lambda r: True, **chosen)
        for name in (agent, other)
    )
    tensors, state = RunFolder.open(foreign.path).load_checkpoint()
    RunFolder.open(run.path).save_checkpoint(tensors, state)
    with pytest.raises(pgzoo.UsageError, match=r'belong to this run: expected "critic" to be'):
        pgzoo.load(run.path).evaluate(2)
