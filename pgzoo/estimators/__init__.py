"""Pure functions on tensors ``[..., N, T]``: N trajectories (rows) of T steps, padded.

Any number of leading axes is allowed. ``mask`` is true on real transitions; what a tensor holds
where it is false never changes a result there where it is true. Tensors that a docstring gives the
same axes have the same shape; nothing is broadcast. Arguments of another shape, kind or range raise
a ``UsageError``.

A function's module, and torch with it, is loaded when the function is first asked for; which there
are is said in ``__init__.pyi``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
