"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

RIGHT, WRONG, NOT_WRITTEN, FAILED = "right", "wrong", "not written", "failed"
STATUSES = (RIGHT, WRONG, NOT_WRITTEN, FAILED)
_COLOURS = {RIGHT: "#1a7f37", WRONG: "#b3261e", NOT_WRITTEN: "#6b7280", FAILED: "#b3261e"}
_MARKS = {RIGHT: "✓", WRONG: "✗", NOT_WRITTEN: "…", FAILED: "✗"}


@dataclass(frozen=True)
class Result:
    """The verdict on an answer to an exercise.

    Attributes:
        exercise: its name.
        status: of ``STATUSES``: right, wrong, not written, or failed with an exception.
        says: in words, for the learner.
        mistake: name in the catalogue, where it was recognised.
        read: line of the chapter to read again.
    """

    exercise: str
    status: str
    says: str
    mistake: str | None = None
    read: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.status == RIGHT

    @property
    def _head(self) -> str:
        name = f" ({self.mistake})" if self.mistake else ""
        return f"{_MARKS[self.status]} {self.exercise}: {self.status}{name}"

    def __repr__(self) -> str:
        lines = [self._head, self.says]
        if self.read:
            lines.append(f"Read again: “{self.read}”")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, *rest = (escape(line) for line in repr(self).split("\n"))
        style = f"border-left: 4px solid {_COLOURS[self.status]}; padding: 0.2em 0.8em"
        return f'<div style="{style}"><b>{head}</b><br>{"<br>".join(rest)}</div>'
