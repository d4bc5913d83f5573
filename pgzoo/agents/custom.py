"""An estimator of your own: a function from trajectories to Ψ, written in a file of yours.

    def my_estimator(trajectories: Trajectories) -> Tensor:   # Ψ [S, N, T]

Sampling plan: N complete episodes, in groups of K from the same start if --group-size is above 1.
The file is named on the command line, as in ``my_file.py:my_estimator``, and is run like any
Python program; a run folder never causes it to be run.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from pgzoo.agents.base import PSI_SCALE, GroupOptions, option
from pgzoo.errors import UsageError
from pgzoo.policies.model import Model
from pgzoo.sampling.collect import Trajectories

Estimator = Callable[[Trajectories], Tensor]


@dataclass(frozen=True, kw_only=True)
class Custom(GroupOptions):
    """Score-function gradient with a Ψ of one's own."""

    group_size: int = option(1, "rollouts K from each start; divides --episodes", minimum=1)
    psi_scale: Literal["none", "rms"] = option("rms", PSI_SCALE)

    estimator_name: ClassVar[str]
    estimator: ClassVar[Callable[[Trajectories], Tensor]]

    def psi(self, trajectories: Trajectories, model: Model) -> Tensor:
        """What the function says, checked."""
        copy = trajectories.map(torch.clone, trajectories.group_size)  # it may be written to
        psi = type(self).estimator(copy)
        return checked_psi(self.estimator_name, psi, trajectories)


def checked_psi(name: str, psi: Any, trajectories: Trajectories) -> Tensor:
    """Ψ with zeros in the padding.

    Raises:
        UsageError: unless it is a tensor of floating-point numbers ``[S, N, T]`` that are finite
            on all real steps.
    """
    mask = trajectories.mask
    expected = f"Expected {name} to return Ψ, a floating-point tensor {list(mask.shape)}"
    if not isinstance(psi, Tensor):
        raise UsageError(f"{expected} (torch), got {type(psi).__name__}.")
    if psi.layout != torch.strided or psi.device != mask.device:
        raise UsageError(
            f"{expected} that is dense and on {mask.device}, got {psi.layout} on {psi.device}."
        )
    if psi.shape != mask.shape:
        raise UsageError(
            f"{expected} (replicas, trajectories, steps), got shape {list(psi.shape)}. A figure "
            "per trajectory, [S, N], becomes one per step by unsqueeze(-1).expand(mask.shape)."
        )
    if not psi.is_floating_point():
        raise UsageError(f"{expected}, got {psi.dtype}. Convert it with .float().")
    psi = torch.where(mask, psi.detach().to(trajectories.reward.dtype), 0)
    if not bool(psi.isfinite().all()):
        s, n, t = (~psi.isfinite()).nonzero()[0].tolist()
        raise UsageError(
            f"{expected} that are finite, got {psi[s, n, t].item()} at replica {s}, trajectory "
            f"{n}, step {t}. Is something divided by a deviation or a length of zero?"
        )
    return psi


def custom_agent(name: str) -> type[Custom]:
    """The agent made of ``FILE.py:FUNCTION``.

    Raises:
        UsageError: if the file or the function is not there, or cannot be loaded.
    """
    path, _, function_name = name.rpartition(":")
    function = _load_function(Path(path), function_name)
    fields: dict[str, Any] = {"estimator": staticmethod(function), "estimator_name": name}
    return dataclasses.dataclass(frozen=True, kw_only=True)(type("Custom", (Custom,), fields))


def _load_function(path: Path, name: str) -> Estimator:
    path = path.resolve()
    if not path.is_file():
        raise UsageError(f"Expected {path} to be a Python file with a function {name}; not found.")
    spec = importlib.util.spec_from_file_location(f"pgzoo_estimator_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))  # as for any program that is run
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's program raises is about it
        line = _line_in(path, error)
        raise UsageError(f"{path}{line} cannot be run: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        known = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")]
        raise UsageError(
            f"Expected a function {name!r} in {path}; it has {', '.join(known) or 'none'}."
        )
    return _with_clear_errors(path, name, function)


def _with_clear_errors(path: Path, name: str, function: Estimator) -> Estimator:
    def call(trajectories: Trajectories) -> Tensor:
        try:
            return function(trajectories)
        except (Exception, SystemExit) as error:
            place = f"{path}{_line_in(path, error)}"
            raise UsageError(
                f"{name} failed at {place}: {type(error).__name__}: {error}"
            ) from error

    return call


def _line_in(path: Path, error: BaseException) -> str:
    """Where in the file an error came from, as ``:LINE``."""
    if isinstance(error, SyntaxError) and error.filename == str(path) and error.lineno:
        return f":{error.lineno}"
    trace, line = error.__traceback__, ""
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return line
