import shlex
import subprocess
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pgzoo.cli.commands import agent_words, command

NAMES = [
    "plain",
    "with space",
    "$(touch X)",
    "`touch X`",
    "a;touch X",
    "it's",
    '"quoted"',
    "-x",
    "--help",
    "~",
    "*",
    "a\\b",
    "ä π",
    "!!",
]
WORDS = st.text(st.characters(exclude_characters="\0"), min_size=1)


@given(st.lists(WORDS, min_size=1))
def test_a_suggested_command_is_its_words_or_there_is_none(words):
    text = command(*words)
    if all(map(str.isprintable, words)):
        assert shlex.split(text) == words
    else:
        assert text is None


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_reads_what_was_meant(name, tmp_path):
    text = command("printf", "%s\\n", Path(name), *agent_words(name))
    said = subprocess.run(
        ["sh", "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert Path(said[0]) == Path(name)
    assert said[-1] == name
    assert not said[0].startswith("-")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "\u202egnp", "a\tb", "\udc80"])
def test_what_does_not_show_is_in_no_command(name):
    assert command("pgzoo", "eval", Path(name)) is None
