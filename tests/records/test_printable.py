import io
import re
import unicodedata

import hypothesis.strategies as st
import pytest
from hypothesis import given
from markdown import markdown
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from pgzoo.records.printable import HIDDEN, in_markdown, printable
from pgzoo.records.terminal import Terminal

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r[bold red]\u202egnp.exe[/] :smile: \x9b1m\udc80\u2028"
STYLE = re.compile(r"\x1b\[[\d;]*m")


def is_clean(text):
    return all(c in "\n\t" or unicodedata.category(c) not in HIDDEN for c in text)


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_hidden_is_left_and_what_shows_is_as_it_was(text):
    shown = printable(text)
    assert is_clean(shown)
    assert printable(shown) == shown
    if is_clean(text):
        assert shown == text


def test_what_is_hidden_is_written_as_python_writes_it():
    assert printable("a\x1b[0m\u202e\udc80 ä π 日本\n\t") == (
        "a\\x1b[0m\\u202e\\udc80 ä π 日本\n\t"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_obeys_nothing_that_it_is_given(terminal):
    out = io.StringIO()
    console = Terminal(file=out, force_terminal=terminal, width=400, color_system="standard")
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    table.add_row(Text(HOSTILE, "red"))
    console.print(HOSTILE)
    console.print(table, style="dim")
    text = STYLE.sub("", out.getvalue())
    assert is_clean(text)
    assert text.count("[bold red]") == 5
    assert text.count(":smile:") == 5
    assert text.count("\\u202e") == 5
    rows = [line for line in text.splitlines() if line.startswith(("┃", "│"))]
    assert len({len(line) for line in rows}) == 1  # it knows how wide what is shown is


def test_a_live_display_obeys_nothing_either():
    out = io.StringIO()
    console = Terminal(file=out, force_terminal=True, width=200)
    with Progress(console=console) as progress:
        progress.add_task(HOSTILE.replace("[", "("))
    assert "\x1b]" not in out.getvalue()
    assert "\x07" not in out.getvalue()
    assert "\u202e" not in out.getvalue()


@given(st.text())
def test_markdown_shows_a_text_as_it_is(text):
    html = markdown(in_markdown(text))
    assert re.fullmatch(r"(<p>[^<]*</p>)?", html, re.S), html


def test_markdown_of_a_stranger_is_no_link_and_no_image():
    html = markdown(in_markdown("![x](http://a.b/c.png) <img src=http://a.b> `y` **z**"))
    assert html == ("<p>![x](http://a.b/c.png) &lt;img src=http://a.b&gt; `y` **z**</p>")
