"""Small Markov decision processes to teach and to check with: everything about them is known."""

from __future__ import annotations

import numpy as np

from pgzoo.errors import UsageError
from pgzoo.lab.exact import FiniteMDP


def corridor(length: int = 5, *, slip: float = 0.1) -> FiniteMDP:
    """A corridor with a goal at its end: how credit travels back over many steps.

        0 ⇄ 1 ⇄ 2 ⇄ … ⇄ goal        every step costs 0.1, arriving pays 1 and ends the episode

    Actions: 0 goes left, 1 goes right; with probability ``slip`` it is the other way. Left of
    state 0 is a wall. Episodes start in state 0. A horizon of about four lengths is ample.

    Args:
        length: states, the goal among them.
        slip: probability of going the other way.
    """
    _check_number("length", length, 2)
    p = np.zeros((length, 2, length))
    for s in range(length - 1):
        for action in (0, 1):
            p[s, action, s + 1] += slip if action == 0 else 1 - slip
            p[s, action, max(s - 1, 0)] += 1 - slip if action == 0 else slip
    p[-1, :, -1] = 1.0
    arrives = p[:, :, -1].copy()
    arrives[-1] = 0.0
    reward = arrives - 0.1
    reward[-1] = 0.0
    return FiniteMDP.from_arrays(p, reward, np.eye(length)[0], terminal=[length - 1])


def contexts(levels: tuple[float, ...] = (-10.0, 0.0, 10.0)) -> FiniteMDP:
    """A bandit with contexts: the start decides the level of the return, the action little of it.

        context c, action 0: level of c          every context is as likely
        context c, action 1: level of c + 1      the episode ends after one step

    The last state is the end. What a baseline that knows the context is worth, and one that does
    not. Horizon: 1.

    Args:
        levels: of the contexts.
    """
    count = len(levels)
    _check_number("levels", count, 1)
    p = np.zeros((count + 1, 2, count + 1))
    p[:, :, -1] = 1.0
    reward = np.zeros((count + 1, 2))
    reward[:-1] = np.array(levels)[:, None] + [0.0, 1.0]
    start = np.append(np.full(count, 1 / count), 0.0)
    return FiniteMDP.from_arrays(p, reward, start, terminal=[count])


def fork(length: int = 4) -> FiniteMDP:
    """An early action decides, and what comes later is noise from the start's point of view.

                   ↗ 1 → 2 → … → end      action 0 at the fork: +1 at the end of the upper path
        fork (0)
                   ↘ 1'→ 2'→ … → end      action 1 at the fork: nothing at the end of the lower one

    On both paths every action leads on; action 0 pays +1 and action 1 pays −1 at once. The return
    of an episode is the fork's worth plus ``length`` coin tosses: the past of a step is noise for
    it. States are the fork, the upper path, the lower path, the end. Horizon: ``length + 1``.

    Args:
        length: steps on a path.
    """
    _check_number("length", length, 1)
    end = 2 * length + 1
    p = np.zeros((end + 1, 2, end + 1))
    reward = np.zeros((end + 1, 2))
    p[0, 0, 1] = p[0, 1, length + 1] = 1.0
    for path in (1, length + 1):
        for s in range(path, path + length):
            p[s, :, end if s == path + length - 1 else s + 1] = 1.0
            reward[s] = [1.0, -1.0]
    reward[length] += 1.0
    p[end, :, end] = 1.0
    return FiniteMDP.from_arrays(p, reward, np.eye(end + 1)[0], terminal=[end])


def garnet(seed: int, states: int = 4, actions: int = 2) -> FiniteMDP:
    """A random one: every state may follow every other, and the last one ends the episode.

    Transitions are Dirichlet(0.7), rewards r(s, a) normal with mean 1 and deviation 2, starts
    random among the states that are no end; so episodes are of different lengths, levels of
    different height. Its horizon is anyone's choice: the time limit counts.

    Args:
        seed: of transitions, rewards and starts.
        states: n, the terminal one among them.
        actions: A.
    """
    _check_number("states", states, 2)
    _check_number("actions", actions, 2)
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(states, 0.7), (states, actions))
    p[-1] = np.eye(states)[-1]
    reward = rng.normal(1.0, 2.0, (states, actions))
    reward[-1] = 0.0
    start = np.append(rng.dirichlet(np.ones(states - 1)), 0.0)
    return FiniteMDP.from_arrays(p, reward, start, terminal=[states - 1])


def machine() -> FiniteMDP:
    """A machine that runs faster when hot, and may break then: two states, two actions.

        cool  pause: stays cool            run: +2, hot with probability 0.7
        hot   pause: is cool again         run: +3, breaks with probability 0.4, which is the end

    Actions: 0 pauses, 1 runs. Episodes start cool. Its policies have two degrees of freedom, so all
    of them fit into one picture. For horizons of about 12 and γ = 0.9, the best one that does not
    know the time runs a hot machine now and then.
    """
    p = np.array([[[1.0, 0.0], [0.3, 0.7]], [[1.0, 0.0], [0.0, 0.6]]])
    return FiniteMDP(p, np.array([[0.0, 2.0], [0.0, 3.0]]), np.array([1.0, 0.0]))


def _check_number(name: str, value: int, least: int) -> None:
    if value < least:
        raise UsageError(f"Expected `{name}` to be at least {least}, got {value}.")
