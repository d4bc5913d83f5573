"""An estimator of your own: a function from trajectories to Ψ, or a file that holds one.

    def my_estimator(trajectories: Trajectories) -> Tensor:   # Ψ [S, N, T]

Sampling plan: N complete episodes, in groups of K if ``group_size`` is above 1. A file is named as
in ``my_file.py:my_estimator`` and is run like any Python program; a run folder never causes it to
be run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from pgzoo.agents.base import RESCALED, Agent
from pgzoo.agents.registry import zoo
from pgzoo.errors import UsageError
from pgzoo.records.files import digest_of_file
from pgzoo.sampling.plan import Groups

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories

    Estimator = Callable[[Trajectories], Tensor]


@dataclass(frozen=True, kw_only=True)
class Custom(Agent):
    """Score-function gradient with a Ψ of one's own."""

    plan: Groups = Groups(episodes=16, group_size=1)

    training = RESCALED
    estimator: ClassVar[Callable[..., Any]]
    sha256: ClassVar[str | None]
    """Digest of the file, or of the function's source where it can be had."""

    def psi(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """What the function says, checked."""
        copy = t.map(lambda x: x.clone(), t.group_size)  # it may be written to
        return checked_psi(self.name, type(self).estimator(copy), t)


def checked_psi(name: str, psi: Any, trajectories: Trajectories) -> Tensor:
    """Ψ with zeros in the padding.

    Raises:
        UsageError: unless it is a tensor of floating-point numbers ``[S, N, T]`` that are finite
            on all real steps.
    """
    import torch  # an agent's file is read without it

    mask = trajectories.mask
    expected = f"Expected {name} to return Ψ, a floating-point tensor {list(mask.shape)}"
    if not isinstance(psi, torch.Tensor):
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


def is_file_and_function(name: str) -> bool:
    """Whether a name is ``FILE.py:FUNCTION``.

    Raises:
        UsageError: for a file without a function.
    """
    if name.endswith(".py"):
        raise UsageError(
            f"Expected FILE.py:FUNCTION, got {name!r}: which of its functions is the estimator?"
        )
    return ".py:" in name


def custom_agent(source: str | Callable[..., Any]) -> type[Custom]:
    """The agent made of a function, or of ``FILE.py:FUNCTION``.

    Raises:
        UsageError: if the file or the function is not there, or cannot be loaded.
    """
    name, function = named_function(source)
    if callable(source):
        if name in zoo():
            raise UsageError(f"Expected another name than {name} for a function: the zoo has it.")
        digest = _digest_of_function(source)
    else:
        digest = digest_of_file(Path(source.rpartition(":")[0]))
    fields = {"estimator": staticmethod(function), "name": name, "sha256": digest}
    return dataclasses.dataclass(frozen=True, kw_only=True)(type("Custom", (Custom,), fields))


def named_function(source: str | Callable[..., Any]) -> tuple[str, Estimator]:
    """A function, or that of ``FILE.py:FUNCTION``, and its name.

    What it raises when it is called becomes a ``UsageError`` that says where.

    Raises:
        UsageError: as ``custom_agent``.
    """
    if not callable(source):
        file, _, name = source.rpartition(":")
        return source, _load_function(Path(file), name)
    path = Path(inspect.getsourcefile(source) or "") if inspect.isfunction(source) else Path()
    name = getattr(source, "__name__", type(source).__name__)
    return name, _with_clear_errors(path, name, source)


def _digest_of_function(function: Callable[..., Any]) -> str | None:
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()
    except (OSError, TypeError):  # typed into a prompt, or no function of Python
        return None


def _load_function(path: Path, name: str) -> Estimator:
    path = path.resolve()
    if not path.is_file():
        raise UsageError(f"Expected {path} to be a Python file with a function {name}; not found.")
    try:
        digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    except UnicodeEncodeError as error:
        raise UsageError(
            f"Expected an estimator's file to have a name that is text, got {path!r}. Rename it."
        ) from error
    spec = importlib.util.spec_from_file_location(f"pgzoo_estimator_{path.stem}_{digest}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    helpers: dict[str, ModuleType] = {}
    try:
        with _importing_from(path.parent, helpers):
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

    def with_helpers(trajectories: Trajectories) -> Tensor:
        with _importing_from(path.parent, helpers):
            return function(trajectories)

    return _with_clear_errors(path, name, with_helpers)


@contextmanager
def _importing_from(folder: Path, helpers: dict[str, ModuleType]) -> Iterator[None]:
    """Modules of a folder can be imported, as for any program that is run, and stay its own.

    Two estimators' folders may both have a module of the same name.

    Args:
        folder: of the estimator's file.
        helpers: its modules, to which further ones are added.
    """
    before = dict(sys.modules)
    sys.modules.update(helpers)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in list(sys.modules):
            package = name.partition(".")[0]
            own = package in helpers or package not in before
            if name in helpers or (own and _is_in(folder, package, sys.modules[name])):
                helpers[name] = sys.modules.pop(name)
                if name in before:
                    sys.modules[name] = before[name]


def _is_in(folder: Path, package: str, module: ModuleType) -> bool:
    """Whether a package is in the folder itself, and not in an environment somewhere below it."""
    below = getattr(module, "__path__", [])  # torch.classes has an attribute of any name
    places = [getattr(module, "__file__", None), *(below if isinstance(below, Iterable) else [])]
    place = next((Path(p).resolve() for p in places if p is not None), None)
    if place is None or folder not in place.parents:
        return False
    return place.relative_to(folder).parts[0].partition(".")[0] == package


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
