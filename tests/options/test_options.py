"""Options by name, and the values that they build."""

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgzoo.agents import AGENTS, agent_class
from pgzoo.errors import UsageError
from pgzoo.options import (
    SMALLEST,
    Option,
    above_one,
    below,
    build,
    check_needs,
    checked_path,
    chosen_by,
    equal_to,
    flat,
    option,
    options_of,
    own_options,
    present,
    written,
)

ENVS = ("CartPole-v1", "LunarLander-v3", "SomeOther-v0")
POLICIES = ("mlp", "linear", "tabular")
EVERY_OPTION = [
    (name, known) for name, e in AGENTS.items() for known in options_of(e.agent).values()
]


@dataclass(frozen=True, kw_only=True)
class Brush:
    width: float = option(1.0, "of a stroke", above=0, below=9)
    hairs: int = option(3, "in it", minimum=1)


@dataclass(frozen=True, kw_only=True)
class Roller:
    length: float = option(20.0, "of the roll", minimum=0, maximum=30)
    kind: str = "foam"


@dataclass(frozen=True, kw_only=True)
class Painter:
    tool: Brush | Roller | None = chosen_by(
        "manner", "fine", fine=Brush(hairs=7), quick_and_dirty=Roller(kind="wool")
    )
    manner: Literal["fine", "quick-and-dirty", "none"] = option("fine", "how it paints")
    name: str | None = option(None, "if it has one")
    sizes: tuple[int, ...] = option((1, 2), "of the canvas")
    careful: bool = option(True, "or not")


def test_a_value_is_built_from_names_and_read_back():
    painter = build(Painter, {"manner": "quick-and-dirty", "length": 10.0, "name": "Ada"})
    assert painter == Painter(
        manner="quick-and-dirty", tool=Roller(length=10.0, kind="wool"), name="Ada"
    )
    assert flat(painter) == {
        "manner": "quick-and-dirty",
        "length": 10.0,
        "name": "Ada",
        "sizes": (1, 2),
        "careful": True,
    }
    assert build(Painter, flat(painter)) == painter


def test_what_is_known_of_options():
    known = options_of(Painter)
    assert list(known) == ["width", "hairs", "length", "manner", "name", "sizes", "careful"]
    assert known["hairs"].default == 7, "that of the part as it is held"
    assert known["length"].part_of == ("manner", "quick-and-dirty")
    assert known["manner"].part_of is None
    assert known["manner"].choices == ("fine", "quick-and-dirty", "none")
    assert list(own_options(Painter)) == ["manner", "name", "sizes", "careful"]


def test_defaults_stand_in_for_those_of_the_fields():
    defaults = {"hairs": 5, "length": 2.0, "sizes": (4,)}
    assert build(Painter, {}, defaults) == Painter(tool=Brush(hairs=5), sizes=(4,))
    assert build(Painter, {"hairs": 6}, defaults).tool == Brush(hairs=6)
    without = build(Painter, {"manner": "none"}, defaults)
    assert without == Painter(manner="none", tool=None, sizes=(4,)), "no tool, and no error"


def test_unknown_names_are_refused_with_near_ones():
    with pytest.raises(UsageError, match=r"Unknown option `hair`. Did you mean `hairs`\? There"):
        build(Painter, {"hair": 3})
    with pytest.raises(UsageError, match=r"Unknown option `zzz`\. There are: width, hairs"):
        build(Painter, {"zzz": 3})


def test_an_option_of_an_absent_part_is_refused():
    message = "Expected `manner=quick-and-dirty` with `length`, got `manner=fine`"
    with pytest.raises(UsageError, match=message):
        build(Painter, {"length": 3.0})
    with pytest.raises(UsageError, match="Expected `manner=fine` with `hairs`"):
        build(Painter, {"hairs": 3, "manner": "none"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"width": 0.0}, "Expected `width` above 0 and below 9, got 0."),
        ({"width": 9.0}, "Expected `width` above 0 and below 9, got 9."),
        ({"width": math.nan}, "Expected `width` above 0 and below 9, got nan."),
        ({"width": "1"}, "Expected `width` to be a number, got '1'."),
        ({"width": True}, "Expected `width` to be a number, got True."),
        ({"hairs": 0}, "Expected `hairs` of at least 1, got 0."),
        ({"hairs": 2.0}, "Expected `hairs` to be a whole number, got 2.0."),
        ({"hairs": True}, "Expected `hairs` to be a number, got True."),
        ({"manner": "quick-and-dirty", "length": 31.0}, "between 0 and 30, got 31."),
        ({"manner": "fime"}, "fine, quick-and-dirty, none; got 'fime'. Did you mean fine?"),
        ({"manner": 3}, "among fine, quick-and-dirty, none; got 3."),
        ({"name": 3}, "Expected `name` to be text, got 3."),
        ({"sizes": 1}, "Expected `sizes` to be positive whole numbers, got 1."),
        ({"sizes": (1, 0)}, "positive whole numbers, got (1, 0)."),
        ({"sizes": (1.0,)}, "positive whole numbers, got (1.0,)."),
        ({"careful": 1}, "Expected `careful` to be true or false, got 1."),
    ],
)
def test_values_of_another_kind_or_out_of_range_are_explained(given, message):
    def checked():
        painter = build(Painter, given)
        for part in (painter, painter.tool):
            for known in own_options(type(part)).values():
                known.check(getattr(part, known.name))

    with pytest.raises(UsageError, match=re.escape(message)):
        checked()


def test_the_ends_of_a_range_belong_to_it_or_not():
    known = options_of(Painter)
    for value in (0, 30, 0.0, 30.0):
        known["length"].check(value)
    known["width"].check(8.999)
    known["sizes"].check(())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hairs", 2**31, "Expected `hairs` of at most 2,147,483,647, got 2,147,483,648."),
        ("hairs", 10**400, "Expected `hairs` of at most 2,147,483,647, got 1000000000"),
        ("hairs", 10**5000, "Expected `hairs` of at most 2,147,483,647, got one of int"),
        ("width", 1e-300, "Expected `width` between 1e-09 and 9, got 1e-300: beyond that"),
        ("width", 10**400, "Expected `width` above 0 and below 9, got 1000000000"),
        ("sizes", (10**20,), "Expected `sizes` of at most 2,147,483,647, got (10000"),
        ("name", "", "Expected `name` to be text, got an empty one."),
    ],
    ids=["2^31", "400 digits", "5000 digits", "tiny", "400 digits of a fraction", "wide", "empty"],
)
def test_what_cannot_be_computed_with_is_refused_with_the_limit(name, value, message):
    with pytest.raises(UsageError, match=re.escape(message)) as raised:
        options_of(Painter)[name].check(value)
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"hairs": np.int64(4)}, 4),
        ({"hairs": torch.tensor(4)}, 4),
        ({"width": np.float32(0.5)}, 0.5),
        ({"width": 2}, 2.0),
        ({"careful": np.bool_(False)}, False),
        ({"sizes": [1, np.int64(2)]}, (1, 2)),
        ({"sizes": np.array([3, 4])}, (3, 4)),
        ({"name": Path("a")}, "a"),
    ],
)
def test_what_other_libraries_call_the_same_is_the_same(given, value):
    (name,) = given
    found = flat(build(Painter, given))[name]
    assert found == value
    assert type(found) is type(value)


def test_an_option_says_what_it_changes_nothing_without():
    @dataclass(frozen=True, kw_only=True)
    class Walk:
        steps: int = option(1, "of it")
        laps: int = option(1, "of it")
        dog: str | None = option(None, "that goes along")
        leash: float = option(0.0, "of the dog", needs=(present("dog"), below("steps", 9)))
        pause: bool = option(False, "between steps", needs=above_one("steps", "laps"))
        hat: bool = option(False, "against the sun", needs=equal_to("weather", "fair"))

    def check(options, **beside):
        check_needs(Walk, options, flat(build(Walk, options)) | beside)

    check({})
    check({"leash": 1.0, "dog": "Ada"})
    check({"pause": True, "laps": 2})
    check({"hat": True})  # of what is not known, nothing is said
    for options, message in (
        ({"leash": 1.0}, "Expected `dog` with `leash`, got `dog=none`"),
        ({"leash": 0.0, "dog": "Ada", "steps": 9}, "`steps` below 9 with `leash`, got `steps=9`"),
        ({"pause": False}, "`steps` or `laps` above 1 with `pause`, got `steps=1` and `laps=1`"),
        ({"hat": True}, "Expected `weather=fair` with `hat`, got `weather=foul`"),
    ):
        with pytest.raises(UsageError, match=message):
            check(options, weather="foul")


@pytest.mark.parametrize("value", ["", "a\0b", None, 3, "a" * 256, "a/" * 3000], ids=repr)
def test_what_can_be_no_path_is_refused(value):
    with pytest.raises(UsageError, match="Expected `out` to be a path"):
        checked_path("out", value)
    assert checked_path("out", "a" * 255) == Path("a" * 255)


def test_two_options_of_one_name_are_an_error_of_the_programmer():
    @dataclass(frozen=True, kw_only=True)
    class TwoBrushes:
        hairs: int = option(1, "of its own")
        brush: Brush = Brush()

    with pytest.raises(TypeError, match="TwoBrushes has two options named hairs"):
        options_of(TwoBrushes)


def test_an_agent_with_two_options_of_one_name_is_an_error():
    base = agent_class("reinforce-baseline")

    @dataclass(frozen=True, kw_only=True)
    class Confused(base):
        critic_epochs: int = option(4, "once more")

    with pytest.raises(TypeError, match="Confused has two options named critic_epochs"):
        Confused.with_options()


def outside(known):
    """Values that an option must refuse, one for each of its bounds and kinds."""
    beyond = {
        "minimum": lambda b: b - 1,
        "above": lambda b: b,
        "maximum": lambda b: b + 1,
        "below": lambda b: b,
    }
    values = [beyond[k](b) for k, b in known.bounds.items()]
    if known.kind in (int, float):
        values += ["1", True, None, math.nan if known.kind is float else 1.5]
    elif known.kind is bool:
        values += [0, "yes"]
    elif known.choices:
        values += ["neither", None]
    elif known.kind == tuple[int, ...]:
        values += [(0,), 64, "64"]
    elif known.kind == str | None:
        values += [3]
    assert values
    return values


@pytest.mark.parametrize(("name", "known"), EVERY_OPTION, ids=lambda x: getattr(x, "name", x))
def test_every_option_of_every_agent_refuses_what_is_out_of_its_range(name, known: Option):
    needed = {} if known.part_of is None else dict([known.part_of])
    for value in outside(known):
        with pytest.raises(UsageError, match=f"Expected `{known.name}` "):
            agent_class(name).with_options(**needed, **{known.name: value})


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("reinforce-baseline", {"critic_epochs": 2}, "Expected `baseline=value` with `critic_ep"),
        ("all-actions", {"sampling": "episodes", "segment_steps": 9}, "`sampling=segments` with"),
        ("all-actions", {"episodes": 9}, "Expected `sampling=episodes` with `episodes`, got"),
        ("reinforce", {"critic_epochs": 2}, "Unknown option `critic_epochs`"),
        ("ppo", {"segment_step": 2}, "Unknown option `segment_step`. Did you mean `segment_steps`"),
        ("reinforce", {"group_size": 2}, "Unknown option `group_size`"),
        ("rloo", {"episodes": 8, "group_size": 3}, "`group_size` to divide `episodes=8`, got 3"),
        ("rloo", {"group_size": 1}, "`group_size` of at least 2, for a member is compared"),
        ("grpo", {"kl_coef": 0.1}, "Expected `reference` with `kl_coef=0.1`, got none"),
        ("grpo", {"reference": "somewhere"}, "Expected `kl_coef` above 0 with `reference`, got 0"),
    ],
)
def test_options_that_do_not_go_together(name, given, message):
    with pytest.raises(UsageError, match=message):
        agent_class(name).with_options(**given)


def test_documented_defaults_of_an_absent_part_are_no_error():
    """LunarLander's defaults set the critic, which another baseline does without."""
    agent = agent_class("reinforce-baseline").for_env("LunarLander-v3", baseline="batch-mean")
    assert agent.critic is None
    assert agent.steps == agent.defaults["LunarLander-v3"]["steps"]
    episodes = agent_class("all-actions").for_env("CartPole-v1", sampling="episodes")
    assert episodes.plan.num_rows == episodes.plan.episodes


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_can_be_built_in_every_case_of_its_defaults(name):
    agent = agent_class(name)
    for env in ENVS:
        for policy in POLICIES:
            made = agent.for_env(env, policy)
            assert build(agent, flat(made)) == made
            assert build(agent, flat(made.as_defined())) == made.as_defined()
    cases = set(agent.defaults) - {
        *ENVS,
        *POLICIES,
        *(f"{env} {policy}" for env in ENVS for policy in POLICIES),
    }
    assert not cases, "are never used"
    used = {k for case in agent.defaults.values() for k in case} | set(agent.training)
    assert used <= set(options_of(agent))


def values_of(known):
    """A strategy for what an option may be; small numbers, so that batches stay small."""
    low = known.bounds.get("minimum", known.bounds.get("above", -9))
    high = known.bounds.get("maximum", known.bounds.get("below", low + 40))
    if known.choices:
        return st.sampled_from(known.choices)
    if known.kind is int:
        return st.integers(math.ceil(low), math.floor(high))
    if known.kind is float:
        return st.floats(
            low, high, exclude_min="above" in known.bounds, exclude_max="below" in known.bounds
        ).filter(lambda x: x == 0 or abs(x) >= SMALLEST)
    if known.kind is bool:
        return st.booleans()
    if known.kind == tuple[int, ...]:
        return st.lists(st.integers(1, 99), max_size=3).map(tuple)
    assert known.kind == str | None
    return st.none() | st.text(min_size=1)


@st.composite
def valid_options(draw):
    """An agent's name, and options that go together."""
    name = draw(st.sampled_from(sorted(AGENTS)))
    known = options_of(agent_class(name))
    given = {k: draw(values_of(o)) for k, o in known.items() if draw(st.booleans())}
    if "group_size" in known:
        given["group_size"] = draw(st.integers(2, 5))
        given["episodes"] = given["group_size"] * draw(st.integers(1, 5))
    if "minibatches" in known:  # its default may be more than a small batch has parts
        rows = given.setdefault("envs" if "envs" in known else "episodes", 8)
        given["minibatches"] = draw(st.integers(1, rows))
    if "ratio" in given and "envs" in known:
        del given["ratio"]
    if "kl_coef" in known:
        kept = draw(st.booleans())
        given |= {"kl_coef": 0.5, "reference": "a"} if kept else {"kl_coef": 0, "reference": None}
    if given.get("whole_return"):
        given.pop("gamma_t", None)
    if "critic_minibatches" in given:  # a batch of segments has no less steps than this
        given["critic_minibatches"] = min(given["critic_minibatches"], given.get("envs", 1))
    if "lr_schedule" in given:  # of one iteration there is nothing to schedule
        given["steps"] = 10**9
    for k in list(given):
        if known[k].part_of is not None:
            chooser, value = known[k].part_of
            if given.get(chooser, known[chooser].default) != value:
                del given[k]
    values = {"policy": "mlp"} | {k: o.default for k, o in known.items()} | given
    for k in list(given):
        if not all(need.holds(*map(values.get, need.names)) for need in known[k].needs):
            del given[k]
    return name, given


@given(valid_options())
def test_building_and_flattening_are_inverse(example):
    name, given = example
    agent = agent_class(name)
    for made in (agent.with_options(**given), agent.for_env("SomeOther-v0", **given)):
        assert flat(made).items() >= given.items()
        assert build(agent, flat(made)) == made
        assert dataclasses.replace(made) == made
        assert hash(made) == hash(build(agent, flat(made)))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "4", 4),
        (float, "0.1234567891", 0.1234567891),
        (float, "1e-05", 1e-5),
        (bool, "yes", True),
        (bool, "no", False),
        (tuple[int, ...], "64,32", (64, 32)),
        (str | None, "runs/a", "runs/a"),
        (str | None, "none", None),
        (Literal["a", "b"], "b", "b"),
    ],
)
def test_values_are_read_as_they_are_written(kind, text, value):
    known = Option("x", None, "", kind, {}, False, None)
    assert known.parse(text) == value
    assert written(value) == text


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (int, "4.5", "a whole number, got '4.5'"),
        (bool, "maybe", "yes or no"),
        (tuple[int, ...], "a,b", "whole numbers with commas"),
        (Literal["sum", "mean"], "sun", "among sum, mean; got 'sun'. Did you mean sum"),
    ],
)
def test_texts_that_are_no_values_are_refused(kind, text, message):
    with pytest.raises(UsageError, match=message):
        Option("x", None, "", kind, {}, False, None).parse(text)
