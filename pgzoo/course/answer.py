"""A learner's function, as far as a checker knows it: it takes plain data and returns plain data.

Plain data are tensors, arrays, numbers, texts, ``Trajectories``, and tuples, lists and dicts of
them. So a checker works alike on a function of the same process and on one of another process that
is not to be trusted.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pgzoo.sampling.trajectories import Trajectories


class AnswerError(Exception):
    """A learner's function raised something.

    Attributes:
        kind: class of the exception; ``NotImplementedError`` says that nothing is written yet.
        text: its message.
        line: where, counted from the line of ``def``; None: not in the function itself.
    """

    def __init__(self, kind: str, text: str, line: int | None = None) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.text, self.line = kind, text, line


class Answer(Protocol):
    """What a checker may do with a learner's function."""

    def __call__(self, *args: Any) -> Any:
        """The function's value; raises ``AnswerError``."""

    def derivatives(self, *args: Any, of: Sequence[int]) -> tuple[Any, tuple[Tensor, ...]]:
        """The value, and the gradients of its sum with respect to some arguments.

        Args:
            args: plain data.
            of: positions of tensors among them.

        Returns:
            The value without its graph, and gradients: zero where the value does not depend on an
            argument.
        """


@dataclass(frozen=True)
class Here:
    """A function of this process; it gets copies, so it may write to its arguments."""

    function: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        """The function's value."""
        return detached(self._call(copied(args)))

    def derivatives(self, *args: Any, of: Sequence[int]) -> tuple[Any, tuple[Tensor, ...]]:
        """The value, and gradients of its sum."""
        own = list(copied(args))
        for i in of:
            own[i] = own[i].requires_grad_()
        leaves = [own[i] for i in of]
        value = self._call(own)
        if not isinstance(value, Tensor) or not value.requires_grad:
            return detached(value), tuple(torch.zeros_like(x) for x in leaves)
        try:
            found = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        except RuntimeError as error:  # a graph of an earlier call, say
            raise AnswerError(type(error).__name__, str(error)) from error
        pairs = zip(found, leaves, strict=True)
        return value.detach(), tuple(torch.zeros_like(x) if g is None else g for g, x in pairs)

    def _call(self, args: Sequence[Any]) -> Any:
        try:
            with torch.enable_grad():
                return self.function(*args)
        except (Exception, SystemExit) as error:
            line = _line_in(self.function, error)
            raise AnswerError(type(error).__name__, str(error), line) from error


def mapped(data: Any, function: Callable[[Any], Any]) -> Any:
    """Plain data with every tensor and array through a function."""
    if isinstance(data, (Tensor, np.ndarray)):
        return function(data)
    if isinstance(data, Trajectories):
        return data.map(function, data.group_size)
    if isinstance(data, (tuple, list)):
        return type(data)(mapped(x, function) for x in data)
    if isinstance(data, dict):
        return {k: mapped(v, function) for k, v in data.items()}
    return data


def copied(data: Any) -> Any:
    """The same in other memory, without graphs."""
    return mapped(data, lambda x: x.detach().clone() if isinstance(x, Tensor) else x.copy())


def detached(data: Any) -> Any:
    """The same without graphs."""
    return mapped(data, lambda x: x.detach() if isinstance(x, Tensor) else x)


def _line_in(function: Callable[..., Any], error: BaseException) -> int | None:
    """The innermost line of the function that an error came through, counted from ``def``."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    trace, line = error.__traceback__, None
    while trace is not None:
        if code is not None and trace.tb_frame.f_code is code:
            line = trace.tb_lineno - code.co_firstlineno + 1
        trace = trace.tb_next
    return line
