"""``config.json``: all that is needed to repeat a run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, get_type_hints

from pgzoo.errors import UsageError
from pgzoo.records.files import damaged
from pgzoo.records.schema import (
    POLICY_KINDS,
    Count,
    Device,
    Digest,
    Name,
    PolicyKind,
    Positive,
    Seeds,
    Setting,
    Text,
    check_names,
    conform,
    expect,
    signed,
    verified,
)

__all__ = ["FORMAT", "LIBRARIES", "POLICY_KINDS", "RunConfig", "check_format"]

FORMAT = 3
"""Of run folders. It goes up when files change so that other versions of pgzoo misread them."""
LIBRARIES = ("torch", "numpy", "gymnasium", "scipy")


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

    agent: Name
    env: Name
    policy_kind: PolicyKind
    seeds: Seeds
    device: Device
    max_episode_steps: Positive | None
    stop_when_solved: bool
    hyperparameters: dict[str, Any]
    diagnostics: Count = 0
    compare_estimators: bool = False
    estimator_sha256: Digest | None = None

    def to_json(self) -> dict[str, Any]:
        """As in ``config.json``, with the versions that are installed.

        Raises:
            ValueError: for a field that is not of its kind.
        """
        versions = {"python": platform.python_version(), "pgzoo": version("pgzoo")}
        versions |= {name: version(name) for name in LIBRARIES}
        data = {"format": FORMAT} | self._fields() | {"versions": versions}
        _conform(data)
        return signed(data)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The inverse of ``to_json``.

        Raises:
            ValueError: for anything else than ``to_json`` can give.
        """
        return cls(**_conform(verified(data)))

    def digest(self) -> str:
        """Equal for equal configurations, whatever versions are installed."""
        return hashlib.sha256(json.dumps(self._fields(), sort_keys=True).encode()).hexdigest()

    def _fields(self) -> dict[str, Any]:
        data = dataclasses.asdict(self)
        settings = {k: _thawed(v) for k, v in self.hyperparameters.items()}
        return data | {"seeds": _thawed(self.seeds), "hyperparameters": settings}


def _conform(data: Any) -> dict[str, Any]:
    """The fields of a ``RunConfig``, from ``config.json`` without its digest."""
    kinds = get_type_hints(RunConfig, include_extras=True)
    check_names(data, ["format", *kinds, "versions"])
    conform(data["versions"], dict[Name, Name], "versions")
    expect(data["format"] == FORMAT, "format", str(FORMAT), data["format"])
    fields = {name: conform(data[name], kind, name) for name, kind in kinds.items()}
    seeds, settings = fields["seeds"], fields["hyperparameters"]
    expect(len(set(seeds)) == len(seeds), "seeds", "without repetition", seeds)
    fields["hyperparameters"] = {
        conform(k, Name, "hyperparameters"): conform(v, Text if isinstance(v, str) else Setting, k)
        for k, v in settings.items()
    }
    return fields


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
    try:
        conform(found, Positive, "format")
    except ValueError as error:
        raise damaged(path, error) from error
    if found != FORMAT:
        age = "an earlier" if found < FORMAT else "a later"
        raise UsageError(
            f"{path} was written by {age} pgzoo (format {found}); expected format {FORMAT}. Use "
            "the pgzoo that wrote it (config.json names it), or start the run anew elsewhere."
        )
