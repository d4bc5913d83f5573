"""Text that comes from elsewhere, made safe to show: names, reasons, messages of others' programs.

A terminal obeys control characters, and an override of the direction of writing makes a name look
like another one. What shows text lets it pass through here, at the place where it leaves:
``terminal.Terminal`` for tables and lines, ``cli.commands.say`` and the errors of the command line.
"""

from __future__ import annotations

import re
import unicodedata
from html import escape

SUSPECT = re.compile(r"[^\x20-\x7e\n\t]")
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of Unicode that nobody sees: controls, formats such as overrides of the direction,
halves of pairs, what is private or not assigned, and separators of lines."""
MARKS = re.compile(r"[\\`*_\[\]]|^[#+-]|^\d+\.(?=\s)")


def printable(text: str) -> str:
    r"""The text with every character that does not show as Python writes it, ``\x1b`` say.

    Ends of lines and tabs stay.
    """
    return SUSPECT.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    character = match[0]
    if unicodedata.category(character) not in HIDDEN:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode()


def on_one_line(text: str) -> str:
    """The same for a name: ends of lines and tabs do not stay either."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def in_markdown(text: str) -> str:
    """The text as it is, on one line, where Markdown is read: no link, image or tag of its own."""
    line = " ".join(printable(text).split())
    return MARKS.sub(lambda mark: f"{mark[0][:-1]}\\{mark[0][-1]}", escape(line, quote=False))
