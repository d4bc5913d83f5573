"""Episodes of several policies, played side by side for a film."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing

import gymnasium as gym
import pgzoo_envs
from gymnasium import spaces

from pgzoo.errors import UsageError
from pgzoo.options import checked
from pgzoo.policies.policy import Policy
from pgzoo.records.film import Ending, Film, Frame, Layout, Shot, arrange, draw, shrink
from pgzoo.sampling.seeding import Purpose, generator

FAMILY = 0
"""Takes the place of a replica's seed: no film's random numbers depend on whose film it is."""
MOST_RATE = 25.0
"""Beats per second: a GIF in a browser hardly plays faster, and would be twice the size."""
MOST_PANELS = 24
HOLD_SECONDS = 2.0
"""For which the frame stays on which all episodes have ended."""


def film(
    panels: Sequence[Sequence[tuple[str, Policy]]],
    env_id: str,
    title: str,
    *,
    max_episode_steps: int | None,
    episodes: int,
    first: int,
    greedy: bool,
    seconds: float,
) -> Film:
    """Film several policies in the same episodes, at the environment's own speed.

    Episode k starts from the same state in every panel of every film, and its actions are drawn
    with the same random numbers: what differs is the policies' doing.

    Args:
        panels: title and policy of each, in rows of equal length.
        env_id: id of the environment.
        title: of the film.
        max_episode_steps: time limit in place of the environment's own.
        episodes: how many, one after another.
        first: number of the first one.
        greedy: the most probable actions instead of sampled ones.
        seconds: that the film plays at most; it is cut then.

    Raises:
        UsageError: for what cannot be filmed.
        pgzoo_envs.EnvError: if it is the environment that cannot be.
    """
    episodes = checked("episodes", episodes, minimum=1)
    first = checked("first", first, minimum=0)
    greedy = checked("greedy", greedy, bool)
    seconds = checked("seconds", seconds, float, above=0)
    names, policies = zip(*(panel for row in panels for panel in row), strict=True)
    frames: list[Frame] = []
    endings: list[Ending] = []
    notes: list[str] = []
    numbers = range(first, first + episodes)
    with pgzoo_envs.headless(), ExitStack() as stack:
        envs = [
            stack.enter_context(closing(pgzoo_envs.make_rendering(env_id, max_episode_steps)))
            for _ in policies
        ]
        plan, every, rate = _prepare(envs[0], env_id, (len(panels), len(panels[0])))
        most = 1 + max(round(seconds * rate), 1)

        def take(env: gym.Env, policy: Policy, episode: int) -> Iterator[Shot]:
            return _play(env, policy, episode, every, plan.image_size, greedy)

        for episode, shots in _together(take, envs, policies, numbers):
            over = all(s.ended for s in shots)
            cut = len(frames) + 1 == most and not (over and episode == numbers[-1])
            shown = list(zip(names, shots, strict=True))
            image = draw(plan, f"{title}, episode {episode}", shown, cut=cut)
            frames.append(Frame.of(image, round(HOLD_SECONDS * rate) if over or cut else 1))
            if over or cut:
                endings += [Ending(n, episode, s.step, s.total, s.ended) for n, s in shown]
            if cut:
                notes.append(_about_the_cut(seconds, numbers[-1] - episode))
                break
    return Film(title, plan.size, rate, tuple(frames), tuple(endings), tuple(notes))


def check_size(seeds: int, moments: int) -> None:
    """Raise a ``UsageError`` if there would be too many panels to see anything."""
    if seeds * moments > MOST_PANELS:
        raise UsageError(
            f"Expected at most {MOST_PANELS} panels, got {seeds * moments}: one for each `seed` at "
            "each moment of `at`. Leave some out."
        )


def _prepare(env: gym.Env, env_id: str, table: tuple[int, int]) -> tuple[Layout, int, float]:
    """The film's layout, how many steps a beat has, and beats per second."""
    env.reset(seed=0)
    height, width, _ = pgzoo_envs.picture(env).shape
    assert isinstance(env.action_space, spaces.Discrete)
    actions = pgzoo_envs.action_names(env_id, int(env.action_space.n))
    steps = pgzoo_envs.steps_per_second(env)
    every = math.ceil(steps / MOST_RATE)
    return arrange(*table, (width, height), actions), every, steps / every


def _together(
    take: Callable[[gym.Env, Policy, int], Iterator[Shot]],
    envs: Sequence[gym.Env],
    policies: Sequence[Policy],
    episodes: Iterable[int],
) -> Iterator[tuple[int, list[Shot]]]:
    """Every beat's episode, and one shot for each panel; who has ended stays where it is."""
    for episode in episodes:
        takes = [take(env, policy, episode) for env, policy in zip(envs, policies, strict=True)]
        shots = [next(going) for going in takes]
        yield episode, shots
        while not all(shot.ended for shot in shots):
            shots = [s if s.ended else next(t) for s, t in zip(shots, takes, strict=True)]
            yield episode, shots


def _play(
    env: gym.Env, policy: Policy, episode: int, every: int, size: tuple[int, int], greedy: bool
) -> Iterator[Shot]:
    """An episode's shots: one for each beat, and the last one for its end."""
    start = generator(FAMILY, Purpose.FILM_STARTS, episode).integers(2**31)
    numbers = generator(FAMILY, Purpose.FILM_ACTIONS, episode)
    obs, _ = env.reset(seed=int(start))
    total, ended = 0.0, None
    for step in itertools.count():
        if ended is None:
            probabilities = policy.probabilities(obs)
            action = int(policy.act(obs, greedy=greedy, generator=numbers))
        if ended is not None or step % every == 0:
            image = shrink(pgzoo_envs.picture(env), size)
            yield Shot(image, step, total, probabilities, action, ended)
        if ended is not None:
            return
        obs, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        ended = "terminated" if terminated else "truncated" if truncated else None


def _about_the_cut(seconds: float, episodes_left: int) -> str:
    text = f"The film is cut after {seconds:g} s; raise `seconds` to see more."
    if episodes_left:
        text += f" Episodes that are not in it at all: {episodes_left}."
    return text
