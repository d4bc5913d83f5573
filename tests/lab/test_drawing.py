"""Pictures of small MDPs."""

import matplotlib.pyplot as plt
import pytest

from pgzoo.errors import UsageError
from pgzoo.lab import mdps
from pgzoo.lab.drawing import draw


def texts(axes):
    return sorted(t.get_text() for t in axes.texts)


def test_every_outcome_is_drawn():
    axes = draw(mdps.machine(), ["cool", "hot"], ["pause", "run"])
    assert texts(axes) == sorted(
        [
            "cool",
            "hot",
            "end",
            "pause 100%, r = 0",
            "run 30%, r = 2",
            "run 70%, r = 2",
            "pause 100%, r = 0",
            "run 60%, r = 3",
            "run 40%, r = 3",
        ]
    )
    low, high = axes.get_ylim()
    assert all(low < t.get_position()[1] < high for t in axes.texts)
    plt.close(axes.figure)


def test_what_never_ends_has_no_end():
    mdp = mdps.machine()
    endless = type(mdp)(
        mdp.transition / mdp.transition.sum(-1, keepdims=True), mdp.reward, mdp.start
    )
    axes = draw(endless, ["cool", "hot"], ["pause", "run"])
    assert "end" not in texts(axes)
    plt.close(axes.figure)


def test_names_must_fit():
    with pytest.raises(UsageError, match="Expected 2 names of `states`, got 1"):
        draw(mdps.machine(), ["cool"], ["pause", "run"])
    with pytest.raises(UsageError, match="Expected 2 names of `actions`, got 3"):
        draw(mdps.machine(), ["cool", "hot"], ["pause", "run", "stop"])
