"""The terminal, by way of rich: whatever it is given is text, and nothing in it is obeyed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from pgzoo.records.printable import printable


class Terminal(Console):
    """A console on which strings are neither markup nor control characters.

    Styles are given as ``Text`` or by ``style=``.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(markup=False, emoji=False, **given)

    def render_str(self, text: str, **given: Any) -> Text:
        """A string to be shown; its width is that of what is shown."""
        return super().render_str(printable(text), **given)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Pieces of anything that is shown, those of a ``Text`` included."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else piece._replace(text=printable(piece.text))
