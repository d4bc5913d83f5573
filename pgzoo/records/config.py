"""``config.json``: all that is needed to repeat a run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from pgzoo.errors import UsageError
from pgzoo.records.files import damaged
from pgzoo.records.shapes import (
    COUNT,
    POSITIVE,
    TEXT,
    TRUTH,
    Kind,
    check_fields,
    is_number,
    is_whole,
    list_of,
    one_of,
    or_null,
)

FORMAT = 2
"""Of run folders. It goes up when files change so that other versions of pgzoo misread them."""
LIBRARIES = ("torch", "numpy", "gymnasium", "scipy")
POLICY_KINDS = ("mlp", "linear", "tabular")


def _is_setting(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(is_whole, value)) and all(map(is_number, value))
    return value is None or isinstance(value, (bool, str)) or is_number(value)


def _are_seeds(value: Any) -> bool:
    return list_of(COUNT).fits(value) and 0 < len(value) == len(set(value))


FIELDS = {
    "agent": TEXT,
    "env": TEXT,
    "policy_kind": one_of(*POLICY_KINDS),
    "seeds": Kind("a list of different whole numbers from 0 to 2^63 − 1", _are_seeds),
    "device": Kind(
        "a device, such as cpu or cuda",
        lambda v: isinstance(v, str) and re.fullmatch(r"(cpu|cuda|mps)(:\d+)?", v) is not None,
    ),
    "max_episode_steps": or_null(POSITIVE),
    "stop_when_solved": TRUTH,
    "hyperparameters": Kind("an object", lambda v: isinstance(v, dict) and all(map(TEXT.fits, v))),
    "diagnostics": COUNT,
    "compare_estimators": TRUTH,
    "estimator_sha256": or_null(
        Kind(
            "64 hexadecimal digits",
            lambda v: isinstance(v, str) and re.fullmatch(r"[0-9a-f]{64}", v) is not None,
        )
    ),
}
"""Every field of a ``RunConfig``, as it is in the file."""
SETTING = Kind("null, true, false, a finite number, text or a list of whole numbers", _is_setting)
"""Every value among the hyperparameters; what each may be is for the agent to say."""
ABOUT = {
    "format": COUNT,
    "versions": Kind(
        "an object of texts", lambda v: isinstance(v, dict) and all(map(TEXT.fits, v.values()))
    ),
}
"""What else is in the file: it says how the run was made, and is no part of it."""


@dataclass(frozen=True)
class RunConfig:
    """All that is needed to repeat a run.

    Attributes:
        agent: its name, or a user's own estimator as ``FILE.py:FUNCTION``.
        env: id of the Gymnasium environment.
        policy_kind: one of ``POLICY_KINDS``.
        seeds: one replica each.
        device: where the run computed when it was started; its files are read anywhere.
        max_episode_steps: time limit in place of the environment's own.
        stop_when_solved: whether a replica stops when it reaches the environment's threshold.
        hyperparameters: of the agent, by the name of the option.
        diagnostics: how often the gradient is diagnosed; 0: never.
        compare_estimators: whether the other estimators that fit are diagnosed, too.
        estimator_sha256: digest of the program that a user's own Ψ came from.
    """

    agent: str
    env: str
    policy_kind: str
    seeds: tuple[int, ...]
    device: str
    max_episode_steps: int | None
    stop_when_solved: bool
    hyperparameters: dict[str, Any]
    diagnostics: int = 0
    compare_estimators: bool = False
    estimator_sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As in ``config.json``, with the versions that are installed.

        Raises:
            ValueError: for a field that is not of its kind.
        """
        versions = {"python": platform.python_version(), "pgzoo": version("pgzoo")}
        versions |= {name: version(name) for name in LIBRARIES}
        data = {"format": FORMAT} | self._fields() | {"versions": versions}
        _check(data)
        return data

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The inverse of ``to_json``.

        Raises:
            ValueError: for anything else than ``to_json`` can give.
        """
        _check(data)
        fields = {name: data[name] for name in FIELDS}
        settings = {k: _frozen(v) for k, v in data["hyperparameters"].items()}
        return cls(**fields | {"seeds": tuple(data["seeds"]), "hyperparameters": settings})

    def digest(self) -> str:
        """Equal for equal configurations, whatever versions are installed."""
        return hashlib.sha256(json.dumps(self._fields(), sort_keys=True).encode()).hexdigest()

    def _fields(self) -> dict[str, Any]:
        data = dataclasses.asdict(self)
        settings = {k: _thawed(v) for k, v in self.hyperparameters.items()}
        return data | {"seeds": _thawed(self.seeds), "hyperparameters": settings}


def _check(data: Any) -> None:
    check_fields(data, FIELDS | ABOUT)
    settings = data["hyperparameters"]
    check_fields(settings, dict.fromkeys(settings, SETTING))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def check_format(header: Mapping[str, Any], path: Path) -> None:
    """Make sure that this version of pgzoo can read a file.

    Args:
        header: what the file says of itself.
        path: the file.

    Raises:
        UsageError: if an earlier or a later pgzoo wrote it.
    """
    found = header.get("format", 1)
    if not is_whole(found) or found < 1:
        raise damaged(path, f'expected "format" to be {FORMAT}, got {found!r}')
    if found != FORMAT:
        age = "an earlier" if found < FORMAT else "a later"
        raise UsageError(
            f"{path} was written by {age} pgzoo (format {found}); expected format {FORMAT}. Use "
            "the pgzoo that wrote it (config.json names it), or start the run anew elsewhere."
        )
