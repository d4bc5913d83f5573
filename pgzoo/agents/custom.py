"""An estimator of your own: a function from trajectories to Ψ, or a file that holds one.

    def my_estimator(trajectories: Trajectories) -> Tensor:   # Ψ [S, N, T]
    def my_estimator(trajectories: Trajectories, rng: Rng) -> Tensor:   # with random numbers

Sampling plan: N complete episodes, in groups of K if ``group_size`` is above 1. A file is named as
in ``my_file.py:my_estimator`` and is run like any Python program; a run folder never causes it to
be run. What it may do to the process that it runs in is said in ``agents.guard``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from pgzoo.agents import guard
from pgzoo.agents.base import RESCALED, Agent
from pgzoo.agents.registry import zoo
from pgzoo.errors import UsageError
from pgzoo.options import shown
from pgzoo.records.files import digest_of_file
from pgzoo.sampling.plan import Groups

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories

    Estimator = Callable[[Trajectories], Tensor]

RNG = "rng"
"""Name of the parameter of a function that draws random numbers."""
MOST_BYTES = 10_000_000


class FunctionError(UsageError):
    """A user's function raised what is this one's cause."""


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
    if not issubclass(type(psi), torch.Tensor):
        advice = " Convert it with torch.from_numpy(…)." if type(psi).__name__ == "ndarray" else ""
        raise UsageError(f"{expected} (torch), got {type(psi).__name__}.{advice}")
    if type(psi) is not torch.Tensor:  # a subclass may answer anything
        try:
            with torch._C.DisableTorchFunctionSubclass():
                psi = torch.Tensor.as_subclass(torch.Tensor.detach(psi), torch.Tensor)
        except Exception as error:
            raise UsageError(f"{expected}, got a {type(psi).__name__} that is none.") from error
    if psi.is_nested or psi.layout != torch.strided or psi.device != mask.device:
        kind = "a nested tensor" if psi.is_nested else psi.layout
        raise UsageError(
            f"{expected} that is dense and on {mask.device}, got {kind} on {psi.device}."
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
            f"{expected} that are finite, got {psi[s, n, t].item()} at "
            f"{_replica(trajectories, s)}, trajectory {n}, step {t}. Is something divided by a "
            "deviation or a length of zero?"
        )
    return psi


def _replica(t: Trajectories, s: int) -> str:
    """A replica as the user knows it."""
    seed = None if t.streams is None else t.streams.seeds[s]
    return f"seed {seed}" if isinstance(seed, int) else f"replica {s}"


def is_file_and_function(name: str) -> bool:
    """Whether a name is ``FILE.py:FUNCTION``.

    Raises:
        UsageError: for a file without a function, and for what is no name.
    """
    if not isinstance(name, str):
        raise UsageError(
            f"Expected an agent's name, FILE.py:FUNCTION or a function, got {shown(name)}."
        )
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
    name = getattr(source, "__name__", type(source).__name__)
    place = inspect.getsourcefile(source) if inspect.isfunction(source) else None
    return name, UserFunction(name, source, None if place is None else Path(place))


@dataclass(frozen=True, eq=False)
class UserFunction:
    """A user's function, which leaves the process as it was.

    Global random numbers begin each call from the replicas' seeds and the iteration, so that equal
    calls draw equal ones.

    Args:
        name: as the user wrote it.
        function: from trajectories to Ψ; if it has a further parameter ``rng``, that is a
            ``sampling.rng.Rng``.
        path: of its file, if known.
        own: settings of the process that its file made for itself.
        helpers: modules beside its file that it has imported; None if it may not import any.

    Raises:
        UsageError: if it wants other arguments.
    """

    name: str
    function: Callable[..., Any]
    path: Path | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    helpers: dict[str, ModuleType] | None = None

    def __post_init__(self) -> None:
        try:
            parameters = list(inspect.signature(self.function).parameters.values())
        except (TypeError, ValueError):  # of C, say: then it has to be one of trajectories alone
            parameters = []
        needed = [p for p in parameters[1:] if p.default is p.empty and p.name != RNG]
        if any(p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in needed):
            names = ", ".join(p.name for p in parameters)
            raise UsageError(
                f"Expected {self.name} to be a function of trajectories, or of trajectories and "
                f"{RNG} if it draws random numbers; got parameters ({names})."
            )
        object.__setattr__(self, "_draws", any(p.name == RNG for p in parameters[1:]))

    def __call__(self, t: Trajectories) -> Tensor:
        """Ψ as the function says it, unchecked.

        Raises:
            FunctionError: for whatever the function raises.
        """
        from pgzoo.sampling.rng import Rng
        from pgzoo.sampling.seeding import Streams

        streams = t.streams or Streams(range(len(t.mask)))
        given = {RNG: Rng(streams, t.mask.device)} if vars(self)["_draws"] else {}
        seed = guard.digest_as_seed((list(streams.seeds), streams.iteration))
        try:
            with guard.restored(self.own), guard.seeded(seed), self._imports():
                return self.function(t, **given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a user's function may raise anything
            where, line = guard.place(error, self.path)
            place = f" at {self.path or ''}{where}" if self.path or where else ""
            words = f"{self.name} failed{place}: {guard.in_words(error)}{line}"
            raise FunctionError(words) from error

    def _imports(self) -> AbstractContextManager[None]:
        if self.path is None or self.helpers is None:
            return contextlib.nullcontext()
        return _importing_from(self.path.parent, self.helpers)


def _digest_of_function(function: Callable[..., Any]) -> str | None:
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()
    except (OSError, TypeError):  # typed into a prompt, or no function of Python
        return None


def _load_function(path: Path, name: str) -> Estimator:
    path = _checked_file(path, name)
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
        with guard.restored() as own, guard.seeded(0), _importing_from(path.parent, helpers):
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the user's program raises is about it
        where, line = guard.place(error, path)
        raise UsageError(f"{path}{where} cannot be run: {guard.in_words(error)}{line}") from error
    function = vars(module).get(name)
    if not callable(function):
        known = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")]
        raise UsageError(
            f"Expected a function {name!r} in {path}; it has {', '.join(known) or 'none'}."
        )
    return UserFunction(name, function, path, own, helpers)


def _checked_file(path: Path, name: str) -> Path:
    """The file, if it can be a program."""
    try:
        path = path.resolve()
        there, regular = path.exists(), path.is_file()
        size = path.stat().st_size if regular else 0
    except (OSError, ValueError, RuntimeError):  # a name that no file can have
        there, regular, size = False, False, 0
    if not regular or size > MOST_BYTES:
        found = f"it has {size:,} bytes" if regular else "it is no file" if there else "not found"
        raise UsageError(f"Expected {path} to be a Python file with a function {name}; {found}.")
    return path


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
        with contextlib.suppress(ValueError):  # the program may have done so
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
