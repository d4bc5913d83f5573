"""What a comparison asks, kept in its folder: the same question goes on, another is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pgzoo.compare.contenders import Contender
from pgzoo.compare.setting import setting_of
from pgzoo.errors import UsageError
from pgzoo.records import files
from pgzoo.records.schema import Count, Digest, Name, Seeds, Strict, conform, expect

QUESTION, RESULT = "question.json", "compare.json"
FORMAT = 1
"""Of comparisons' folders."""


class File(Strict):
    """``question.json``."""

    format: Count
    env: Name
    contenders: dict[Name, Digest]
    seeds: Seeds
    until_decided: Count | None


@dataclass(frozen=True)
class Question:
    """Which contenders, on what, with which seeds.

    Attributes:
        env: the environment.
        contenders: label to a digest of the contender's setting.
        seeds: of each; of the first batch, if there are several.
        until_decided: at most so many seeds of each, in batches; None: these seeds and no more.
    """

    env: str
    contenders: Mapping[str, str]
    seeds: tuple[int, ...]
    until_decided: int | None = None

    @classmethod
    def of(
        cls, contenders: Sequence[Contender], seeds: Sequence[int], until_decided: int | None
    ) -> Self:
        """The question that contenders are compared for."""
        settings = {c.label: setting_of(c.config, budget=True) for c in contenders}
        return cls(contenders[0].config.env, settings, tuple(seeds), until_decided)

    def to_json(self) -> dict[str, Any]:
        """As in ``question.json``."""
        return {
            "format": FORMAT,
            "env": self.env,
            "contenders": dict(self.contenders),
            "seeds": list(self.seeds),
            "until_decided": self.until_decided,
        }

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The question of a comparison's folder.

        Raises:
            UsageError: if there is none, or it is damaged.
        """
        path = folder / QUESTION
        data = files.read_json(path)
        try:
            found: File = conform(data, File)
            expect(found.format == FORMAT, "format", str(FORMAT), found.format)
        except ValueError as error:
            raise files.damaged(path, error) from error
        return cls(found.env, found.contenders, found.seeds, found.until_decided)

    def is_about_the_same(self, other: Question) -> bool:
        """Whether both are of the same contenders, whatever the seeds."""
        mine, theirs = (set(q.contenders.values()) for q in (self, other))
        return (self.env, mine) == (other.env, theirs)

    def is_the_same(self, other: Question) -> bool:
        """Whether both are of the same contenders and seeds."""
        return (
            self.is_about_the_same(other)
            and set(self.seeds) == set(other.seeds)
            and self.until_decided == other.until_decided
        )


def begin(folder: Path, question: Question) -> None:
    """Make a folder for a question, or go on with one of the same contenders.

    Raises:
        UsageError: if it holds another question, or anything else; if it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / QUESTION).exists():
            _check_same(folder, question)
        elif any(folder.iterdir()):
            raise UsageError(
                f"Expected {folder} to be empty or to hold a comparison, but it holds something "
                "else. Choose another `out`."
            )
        content = json.dumps(question.to_json(), indent=2).encode()
        files.write(folder / QUESTION, content)
    except OSError as error:
        raise files.cannot_write(folder, error) from error


def _check_same(folder: Path, question: Question) -> None:
    there = Question.read(folder)
    if question.is_about_the_same(there):
        return
    if there.env != question.env:
        differs = f"it is on {there.env}, not on {question.env}"
    else:
        settings = set(there.contenders.values()), set(question.contenders.values())
        only_there = [k for k, v in there.contenders.items() if v not in settings[1]]
        only_here = [k for k, v in question.contenders.items() if v not in settings[0]]
        differs = "; ".join(
            [f"it has {name}, as it was set then" for name in only_there]
            + [f"it has no {name} as it is set now" for name in only_here]
        )
    raise UsageError(
        f"Expected {folder} to hold the same comparison, but it is of another question: {differs}. "
        "Choose another `out`; runs that fit are reused from there by `reuse`."
    )


def folder_for(parent: Path, question: Question) -> Path:
    """The folder in which the same question was asked, or a new one of the next number.

    Raises:
        UsageError: if it cannot be made.
    """
    stem = re.sub(r"[^\w.+-]", "_", question.env)
    for path in sorted(parent.glob(f"{stem}-*/{QUESTION}"), key=lambda p: (len(str(p)), p)):
        try:
            if question.is_the_same(Question.read(path.parent)):
                return path.parent
        except UsageError:
            continue  # a damaged one is not gone on with
    return files.free_folder(parent, question.env)
