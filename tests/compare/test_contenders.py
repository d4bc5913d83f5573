"""Who takes part: labels, options at their defaults, repetitions, grids."""

import pytest

from pgzoo.compare.contenders import contenders_of
from pgzoo.errors import UsageError
from tests.helpers import COMMON

RUN = COMMON | {"env": "CartPole-v1", "seeds": 3}


def contenders(*agents, grid=None, **options):
    return contenders_of(agents, grid, **RUN | options)


def labels(*agents, **options):
    return [c.label for c in contenders(*agents, **options)[0]]


def whole_return(t):
    return (t.reward * t.mask).sum(-1, keepdim=True).expand(t.mask.shape)


def test_labels_say_what_differs_from_the_defaults():
    assert labels("ppo", "ppo:lam=0.9", "rloo:group-size=4,learning-rate=0.010") == [
        "ppo",
        "ppo:lam=0.9",
        "rloo:group_size=4,learning_rate=0.01",
    ]
    assert labels("ppo:hidden=32,16,lam=0.5", "ppo") == ["ppo:hidden=32,16,lam=0.5", "ppo"]
    assert labels("rloo:reward_to_go=yes", "rloo:reward_to_go=no")[0] == "rloo:reward_to_go=yes"


def test_an_option_at_its_default_is_no_other_contender():
    assert labels("ppo:lam=0.95", "rloo") == ["ppo", "rloo"]
    with pytest.raises(UsageError, match=r"every contender once, got ppo:lam=0.95.* same as ppo"):
        contenders("ppo", "ppo:lam=0.95")
    with pytest.raises(UsageError, match="every contender once"):
        contenders("ppo", "rloo", "ppo")


def test_what_is_common_to_all_is_in_no_label():
    found, _ = contenders("ppo", "ppo:steps=700", "rloo:steps=500", steps=500)
    assert [c.label for c in found] == ["ppo", "ppo:steps=700", "rloo"]
    assert [c.budget for c in found] == [500, 700, 500]
    assert found[1].options == {"steps": 700}


def test_functions_and_files(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def other(t):\n    return t.reward\n")
    assert labels(whole_return, (whole_return, {"group_size": 4}), f"{file}:other:episodes=8") == [
        "whole_return",
        "whole_return:group_size=4",
        "other:episodes=8",
    ]
    assert contenders(whole_return, "ppo")[0][0].config.estimator_sha256 is not None


def test_functions_of_one_name_are_told_apart_by_their_files(tmp_path):
    sources = []
    for folder, body in (("a", "t.reward"), ("b", "-t.reward")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"def f(t):\n    return {body}\n")
        sources.append(f"{tmp_path / folder}/mine.py:f")
    assert labels(*sources) == sources
    (tmp_path / "b" / "mine.py").write_text((tmp_path / "a" / "mine.py").read_text())
    with pytest.raises(UsageError, match="every contender once"):
        contenders(*sources)


def test_a_grid_is_a_sweep_along_one_option():
    found, grid = contenders("rloo", grid="ppo:clip=0.1,lam=0.5,0.95,1")
    names = ["ppo:clip=0.1,lam=0.5", "ppo:clip=0.1,lam=0.95", "ppo:clip=0.1,lam=1"]
    assert [c.label for c in found] == ["rloo", *names]
    assert grid.option == "lam"
    assert grid.values == dict(zip(names, (0.5, 0.95, 1.0), strict=True))


def test_a_value_of_a_grid_that_is_a_contender_already_is_that_one():
    found, grid = contenders("ppo", grid="ppo:lam=0.5,0.95")
    assert [c.label for c in found] == ["ppo", "ppo:lam=0.5"]
    assert grid.values == {"ppo:lam=0.5": 0.5, "ppo": 0.95}


@pytest.mark.parametrize(
    ("agents", "options", "message"),
    [
        (["ppo"], {}, "at least two contenders"),
        ([], {}, "at least two contenders"),
        (["ppo", "rlo"], {}, "Unknown agent 'rlo'. Did you mean rloo"),
        (["ppo", "rloo:lamb=1"], {}, r"rloo:lamb=1: Unknown option `lamb`.* There are"),
        (["ppo", "rloo:policy=linear"], {}, "Unknown option `policy`"),
        (["ppo", "rloo:group_size"], {}, "Say which value"),
        (["ppo", "rloo:group_size=4,group-size=8"], {}, "once, got it more than once"),
        (["ppo", "rloo:group_size=x"], {}, "`group_size` to be a whole number"),
        (["ppo:lam=2", "rloo"], {}, r"ppo:lam=2: Expected `lam` between 0 and 1"),
        (["ppo", "rloo"], {"lam": 0.9}, "rloo: Unknown option `lam`"),
        (["ppo", 3], {}, "as text, a function, or a pair"),
        (["ppo", ("rloo", 3)], {}, "an agent and a mapping"),
        (["ppo"], {"grid": "ppo:lam=0.5"}, "several values of one option"),
        (["ppo"], {"grid": "ppo:lam=0.5,0.6,clip=0.1,0.2"}, "several values of 2"),
        (["ppo"], {"grid": "ppo:hidden=32,64"}, "one by one"),
        (["ppo"], {"grid": "ppo:lam=0.5,0.50"}, "every value of the grid once"),
    ],
)
def test_what_cannot_be_compared_is_refused(agents, options, message):
    with pytest.raises(UsageError, match=message):
        contenders(*agents, **options)
