import os
import re
import subprocess
import sys
from io import BytesIO

import gymnasium as gym
import numpy as np
import pytest
from pgzoo_envs import EnvError
from PIL import Image

import pgzoo
from pgzoo.learning import film as film_module
from tests.envs.test_rendering import Blind

SMALL = {"seeds": 3, "hidden": (8,), "progress": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("films") / "run"
    options = SMALL | {"steps": 2000, "episodes": 4}
    return pgzoo.train("reinforce", env="CartPole-v1", out=out, **options)


def test_a_film_has_a_panel_for_every_seed_and_moment(run):
    film = run.film(seed=[2, 0], at=(0, 100), episodes=2)
    titles = [f"seed {s}, {moment}" for s in (2, 0) for moment in ("untrained", "trained")]
    assert [(e.panel, e.episode) for e in film.endings] == [(t, k) for k in (0, 1) for t in titles]
    one = run.film()
    assert [e.panel for e in one.endings] == ["seed 0, untrained", "seed 0, trained"]
    assert film.size[1] > one.size[1]
    assert run.film(seed=np.int64(0)).endings == one.endings
    middle = run._folder.snapshots()[1]
    assert run.film(at=middle).endings[0].panel == f"seed 0, {middle} %"


def test_a_film_plays_at_the_environments_speed(run):
    film = run.film(at=0)
    (ending,) = film.endings
    assert ending.ended == "terminated"
    assert ending.total == ending.steps
    assert film.rate == 25  # 50 steps a second: every other one, and the last
    assert len(film.frames) == -(-ending.steps // 2) + 1
    assert film.seconds == pytest.approx(ending.steps / 50 + film_module.HOLD_SECONDS, abs=0.1)
    gif = Image.open(BytesIO(film.gif))
    assert (gif.n_frames, gif.size) == (len(film.frames), film.size)


def test_films_repeat(run):
    again = pgzoo.load(run.path).film(episodes=2)
    assert again.gif == run.film(episodes=2).gif
    assert again.endings == run.film(episodes=2).endings
    assert again.gif != run.film(episodes=2, greedy=True).gif


def test_an_episode_is_the_same_in_every_film(run):
    many, one = run.film(at=0, episodes=3), run.film(at=0, first=2)
    assert many.endings[2:] == one.endings
    assert len({e.steps for e in many.endings}) > 1 or many.endings[0] != many.endings[1]


def test_all_panels_start_from_the_same_state_and_have_the_same_numbers(run, monkeypatch):
    starts = []
    reset = gym.envs.classic_control.CartPoleEnv.reset

    def noted(self, **options):
        obs, info = reset(self, **options)
        starts.append((options["seed"], tuple(obs)))
        return obs, info

    monkeypatch.setattr(gym.envs.classic_control.CartPoleEnv, "reset", noted)
    film = run.film(seed=(0, 1), at=0, episodes=2, greedy=False)
    assert len(film.endings) == 4
    first, second = starts[1:3], starts[3:5]  # the very first one is to see how large it is
    assert first[0] == first[1]
    assert second[0] == second[1]
    assert first[0] != second[0]


def test_actions_are_the_policys(run):
    class Certain:
        def probabilities(self, obs):
            return np.array([0.0, 1.0], np.float32)

        def act(self, obs, *, greedy, generator):
            return 1

    panels = [[("certain", Certain())]]
    options = {"max_episode_steps": 4, "episodes": 1, "first": 0, "greedy": False, "seconds": 9.0}
    film = film_module.film(panels, "CartPole-v1", "title", **options)
    (ending,) = film.endings
    assert (ending.steps, ending.ended) == (4, "truncated")
    assert str(ending) == "certain, episode 0: return 4.0, truncated after 4 steps"


def test_who_ends_first_waits_for_the_others(run, monkeypatch):
    drawn = []
    draw = film_module.draw

    def noted(plan, title, panels, **options):
        drawn.append([shot for _, shot in panels])
        return draw(plan, title, panels, **options)

    monkeypatch.setattr(film_module, "draw", noted)
    run.film(seed=(0, 1, 2), at=0, first=1)
    ends = [[shot.ended is not None for shot in shots] for shots in drawn]
    assert sum(map(all, ends)) == 1
    assert all(ends[-1])
    for panel in range(3):
        states = [row[panel] for row in ends]
        assert states == sorted(states)
        last = [shots[panel] for shots, ended in zip(drawn, states, strict=True) if ended]
        assert all(shot is last[0] for shot in last)


def test_a_long_film_is_cut_and_says_so(run):
    film = run.film(at=0, seconds=0.1, episodes=3)
    (ending,) = film.endings
    assert ending.ended is None
    assert "cut after" in str(ending)
    (note,) = film.notes
    assert "cut after 0.1 s; raise `seconds`" in note
    assert "not in it at all: 2" in note
    assert note in film._repr_html_()
    assert run.film(at=0).notes == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 9}, r"a `seed` of .* \(0-2\), got 9"),
        ({"at": 23}, r"at 23 percent; there are: 0, .*100"),
        ({"at": (0, 0)}, "`at` without repetition"),
        ({"seed": ()}, "1 to 10,000 numbers for `seed`, got none"),
        ({"seed": range(3), "at": range(9)}, "at most 24 panels, got 27"),
        ({"episodes": 0}, "`episodes` of at least 1"),
        ({"first": -1}, "`first` of at least 0"),
        ({"seconds": 0}, "`seconds` above 0"),
        ({"seconds": float("nan")}, "`seconds` above 0"),
    ],
)
def test_what_cannot_be_filmed(run, options, message):
    with pytest.raises(pgzoo.UsageError, match=message):
        run.film(**options)


def test_failed_seeds_are_not_filmed(run, monkeypatch):
    monkeypatch.setattr(type(run), "failed", {0: "not finite"})
    assert [e.panel for e in run.film(at=0).endings] == ["seed 1, untrained"]
    with pytest.raises(pgzoo.UsageError, match="did not fail, got 0: not finite"):
        run.film(seed=(0, 1))


def test_an_incomplete_run_says_so(tmp_path):
    options = SMALL | {"steps": 100_000, "episodes": 4}
    run = pgzoo.train("reinforce", env="CartPole-v1", callback=lambda report: True, **options)
    assert run.film(at=100).endings[0].panel == "seed 0, as far as trained"


def test_policies_of_snapshots(run):
    obs = np.zeros(4, np.float32)
    first, last = run.policy(1, at=0), run.policy(1, at=100)
    np.testing.assert_array_equal(last.probabilities(obs), run.policy(1).probabilities(obs))
    assert not np.array_equal(first.probabilities(obs), last.probabilities(obs))


@pytest.mark.parametrize(
    ("env", "policy"), [("FrozenLake-v1", "tabular"), ("CartPole-v1", "tabular")]
)
def test_tables_are_filmed_too(env, policy):
    run = pgzoo.train("reinforce", env=env, policy=policy, seeds=1, steps=500, progress=False)
    film = run.film()
    assert all(e.ended for e in film.endings)
    assert film.rate == (4 if env == "FrozenLake-v1" else 25)


def test_environments_that_cannot_be_drawn_are_refused(monkeypatch):
    monkeypatch.setattr(Blind, "step", lambda self, a: (1, 1.0, True, False, {}), raising=False)
    gym.register("Blind-v0", Blind, max_episode_steps=3)
    try:
        run = pgzoo.train("reinforce", env="Blind-v0", steps=100, seeds=1, progress=False)
        with pytest.raises(EnvError, match="render modes: ansi"):
            run.film()
    finally:
        del gym.registry["Blind-v0"]


def test_no_display_is_needed(run):
    code = f"import pgzoo; print(len(pgzoo.load({str(run.path)!r}).film(at=0).gif))"
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")
    env = {k: v for k, v in os.environ.items() if k not in hidden} | {"SDL_VIDEODRIVER": "x11"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(re.fullmatch(r"(\d+)\n", done.stdout)[1]) == len(run.film(at=0).gif)
