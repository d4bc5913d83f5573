"""What has been found of a run's folder, and what cannot be done for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from pgzoo_envs import EnvError

from pgzoo.errors import UsageError
from pgzoo.records.run_folder import RunFolder

Severity = Literal["fine", "note", "damaged"]
T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """Something about a part of a run.

    Attributes:
        part: file, folder or circumstance.
        severity: fine, a note, or damaged.
        text: what it is, and what can be done.
        lacks: of what ``verdicts.NEEDS`` names, that which is therefore not in order.
        unknown: of the same, that which cannot be told without running something.
    """

    part: str
    severity: Severity
    text: str
    lacks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass
class Chart:
    """What has been found so far of a folder.

    Attributes:
        folder: that is examined.
        findings: part by part.
    """

    folder: RunFolder
    findings: list[Finding] = field(default_factory=list)

    def fine(self, part: str, text: str) -> None:
        """A part is in order."""
        self.findings.append(Finding(part, "fine", text))

    def note(
        self, part: str, text: str, *, lacks: Sequence[str] = (), unknown: Sequence[str] = ()
    ) -> None:
        """Something to know of a part."""
        self.findings.append(Finding(part, "note", text, tuple(lacks), tuple(unknown)))

    def damaged(self, part: str, text: str, *, lacks: Sequence[str] = ()) -> None:
        """A part is not as it was written."""
        self.findings.append(Finding(part, "damaged", text, tuple(lacks)))

    def attempt(self, part: str, lacks: Sequence[str], read: Callable[[], T]) -> T | None:
        """What a function returns; if it fails, that is a finding."""
        try:
            return read()
        except (UsageError, EnvError) as error:
            self.damaged(part, str(error).replace(f"{self.folder.path}{os.sep}", ""), lacks=lacks)
        except Exception as error:  # whatever a damaged file brings about, the next one is examined
            self.damaged(part, f"cannot be used: {type(error).__name__}: {error}", lacks=lacks)
        return None
