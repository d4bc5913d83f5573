"""Every line of the README's Python, in a Jupyter kernel."""

import nbformat
import pytest
from nbclient import NotebookClient

SMALL = "env='CartPole-v1', steps=800, hidden=(8,), episodes=8"
CELLS = [
    """
    import gymnasium, pandas as pd, pgzoo
    def my_function(t):
        return (t.reward * t.mask).sum(-1, keepdim=True).expand(t.mask.shape)
    """,
    f"run = pgzoo.train('rloo', {SMALL}, seeds=5, group_size=4)\nrun",
    "assert run.summary['seeds'] == [0, 1, 2, 3, 4]\nrun.metrics.tail(3)",
    "returns = run.evaluate(episodes=10, greedy=True)\nassert returns.shape == (10, 5)\nreturns",
    """
    policy = run.policy(seed=3)
    obs, _ = gymnasium.make('CartPole-v1').reset(seed=0)
    policy.act(obs), policy.probabilities(obs), policy.act([obs, obs])
    """,
    "run.plot();",
    "pgzoo.load(run.path)",
    "lab = pgzoo.measure(['rloo', my_function], run=run, at=20, trajectories=8, estimates=20, "
    "group_size=4, critic_trajectories=16)\nlab",
    "assert isinstance(lab.table, pd.DataFrame)\nlab.plot()",
    "pgzoo.measure(['rloo', 'grpo'], env='FrozenLake-v1', policy='tabular', estimates=20)",
    f"pgzoo.train(my_function, {SMALL}, seeds=2, group_size=4)",
    f"""
    def interrupt(report):
        if report.iteration == 2:
            raise KeyboardInterrupt  # as the stop button does
    try:
        pgzoo.train('reinforce', {SMALL}, seeds=2, callback=interrupt, out='stopped')
    except KeyboardInterrupt as error:
        print(error)
    pgzoo.load('stopped').resume().summary['failed']
    """,
    "check = pgzoo.check(my_function)\nassert check.passed\ncheck",
    """
    from pgzoo.estimators import returns_to_go
    from pgzoo.lab import mdps, score_gradients, simulate
    mdp = mdps.corridor(5)
    pi = [[0.5, 0.5]] * 5
    t = simulate(mdp, pi, horizon=20, batches=1000, episodes=8, seed=0)
    psi = returns_to_go(t.reward, t.mask, gamma=1.0)
    estimates = score_gradients(t, psi, pi)
    assert estimates.shape == (1000, 5, 2)
    """,
    "film = run.film(seed=3, at=(0, 100), seconds=1)\nassert len(film.endings) == 2\nfilm",
]


def outputs_of(cell):
    """Kinds of what a cell shows, and all its text."""
    kinds, text = set(), ""
    for output in cell.outputs:
        kinds |= set(output.get("data", {}))
        text += output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
    return kinds, text


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    notebook = nbformat.v4.new_notebook()
    for source in CELLS:
        lines = source.strip("\n").split("\n")
        indent = len(lines[0]) - len(lines[0].lstrip())
        cell = "\n".join(line[indent:] if line[:indent].isspace() else line for line in lines)
        notebook.cells.append(nbformat.v4.new_code_cell(cell.strip()))
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}, timeout=300).execute()
    return notebook.cells


def test_objects_show_themselves(executed):
    for index in (1, 2, 3, 6, 7, 9, 10, 12, 14):
        kinds, _ = outputs_of(executed[index])
        assert "text/html" in kinds, executed[index].source
    for index in (5, 8):
        assert "image/png" in outputs_of(executed[index])[0]


def test_training_shows_a_bar(executed):
    text = "".join(o.get("text", "") for o in executed[1].outputs)
    kinds, _ = outputs_of(executed[1])
    assert "100%" in text or "application/vnd.jupyter.widget-view+json" in kinds


def test_an_interruption_says_how_to_go_on(executed):
    _, text = outputs_of(executed[11])
    assert "pgzoo.load('stopped').resume()" in text
    assert "[None, None]" in text
