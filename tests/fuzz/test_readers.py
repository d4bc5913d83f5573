"""What reads text and JSON: equal again, or a clear error. Never anything else."""

import copy
import json
import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pgzoo.agents import AGENTS, agent_class
from pgzoo.cli.values import parse_seeds
from pgzoo.errors import UsageError
from pgzoo.options import build, flat, options_of, written
from pgzoo.records.columns import check_summary
from pgzoo.records.config import RunConfig
from tests.fuzz import values
from tests.fuzz.damage import mutated
from tests.records.examples import CONFIG, SUMMARY

OPTIONS = {
    (name, o.name): (entry.agent, o)
    for name, entry in AGENTS.items()
    for o in options_of(entry.agent).values()
}
CHOSEN = st.sampled_from(sorted(OPTIONS)).map(OPTIONS.get)
TEXTS = st.text() | st.sampled_from(values.NUMERALS + values.TEXTS + values.WIDTHS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(seed=st.integers(0, 2**32))
def test_a_configuration_that_was_changed_is_refused_or_another(seed):
    data = json.loads(json.dumps(CONFIG.to_json()))
    mutated(data, random.Random(seed))
    try:
        config = RunConfig.from_json(data)
    except (UsageError, ValueError):
        return
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@given(data=JSON)
def test_anything_else_is_no_configuration(data):
    with pytest.raises(ValueError):  # noqa: PT011 any, as long as it says so
        RunConfig.from_json(data)


@given(seed=st.integers(0, 2**32))
def test_a_summary_that_was_changed_is_refused_or_can_be_written(seed):
    data = copy.deepcopy(SUMMARY)
    mutated(data, random.Random(seed))
    try:
        check_summary(data, CONFIG)
    except (UsageError, ValueError):
        return
    json.dumps(data, allow_nan=False)


@given(chosen=CHOSEN, text=TEXTS)
def test_what_is_read_of_a_text_is_written_and_read_again(chosen, text):
    _, option = chosen
    try:
        value = option.parse(text)
        option.check(value)
    except UsageError:
        return
    assert option.parse(written(value)) == value


@given(chosen=CHOSEN, seed=st.integers(0, 2**32))
def test_an_agent_is_built_again_of_its_options(chosen, seed):
    cls, option = chosen
    text = values.telling(option, random.Random(seed))
    try:
        agent = build(cls, {option.name: option.parse(text)})
    except UsageError:
        return
    assert build(cls, flat(agent)) == agent


@given(chosen=CHOSEN, value=JSON)
def test_any_value_of_an_option_is_taken_or_refused(chosen, value):
    cls, option = chosen
    frozen = tuple(value) if isinstance(value, list) else value
    try:
        agent = build(cls, {option.name: frozen})
    except UsageError:
        return
    assert flat(agent)[option.name] == frozen


@given(
    text=TEXTS | st.sampled_from(values.SEEDS) | st.from_regex(r"[0-9,\-]{0,12}", fullmatch=True)
)
def test_seeds_are_different_and_not_negative_or_refused(text):
    try:
        seeds = parse_seeds(text)
    except UsageError:
        return
    assert len(set(seeds)) == len(seeds) > 0
    assert min(seeds) >= 0


@pytest.mark.parametrize("text", values.TEXTS)
def test_no_name_of_an_agent_is_taken_for_another(text):
    with pytest.raises(UsageError):
        agent_class(text)
