"""When two runs are of the same setting: any seed of the one is then a seed of the other."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from pgzoo.records.config import RunConfig

NO_PART = ("seeds", "device", "diagnostics", "compare_estimators")
"""Of a configuration, what does not change what a seed learns."""


def setting_of(config: RunConfig, *, budget: bool) -> str:
    """A digest of all that decides what a seed learns, versions apart.

    A user's own estimator is known by its function's name and its program, wherever the file is.

    Args:
        config: of a run.
        budget: whether the steps that each seed is to train are part of it.
    """
    data = {k: v for k, v in dataclasses.asdict(config).items() if k not in NO_PART}
    if config.estimator_sha256 is not None:
        data["agent"] = config.agent.rpartition(":")[2]
    settings: dict[str, Any] = dict(data["hyperparameters"])
    if not budget:
        del settings["steps"]
    text = json.dumps(data | {"hyperparameters": settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
