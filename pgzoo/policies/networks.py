"""Networks whose parameters are a matrix: one row per replica, one backward pass for all.

A network is a stateless description. ``init`` makes parameters ``theta [S, P]`` and ``apply`` maps
observations ``[S, ..., *obs]`` to outputs ``[S, ..., out]``, row s of ``theta`` being used for
entry s of the observations. The gradient of a sum over replicas is therefore the matrix of each
replica's own gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, gcd, log2, prod
from typing import Any, Literal, Protocol

import numpy as np
import torch
from gymnasium import spaces
from pgzoo_envs import EnvInfo
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import pad_sequence

Forward = Callable[[Tensor], Tensor]
Pullback = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""Directions ``[B, out]``, weights ``[E, B]`` and the lengths of K parts of the B observations to
Σ_b w_eb (∂out_b/∂θ)ᵀ direction_b over each part, ``[K, E, P]``."""

ROWS_IN_CACHE = 2048
ROWS_OF_PRODUCT = 128
"""Rows whose part of a weight's gradient is one matrix product, at most."""
LANES = 32
"""Floats that the widest processors take at once."""
LEAST_PRODUCT = 400
"""Multiplications below which torch has another kernel for matrix products."""
POLICY_OUTPUT_GAIN, CRITIC_OUTPUT_GAIN = 0.01, 1.0


class Network(Protocol):
    """What the training loop asks of a network."""

    @property
    def num_params(self) -> int:
        """Length P of one replica's parameter row."""

    @property
    def width(self) -> int:
        """Numbers that go through it for one observation."""

    def init(self, generators: Sequence[np.random.Generator]) -> Tensor:
        """Initial parameters ``[S, P]``, row s drawn from generator s."""

    def apply(self, theta: Tensor, obs: Tensor) -> Tensor:
        """Outputs ``[S, ..., out]`` for observations ``[S, ..., *obs]``."""

    def bind(self, theta: Tensor) -> Forward:
        """``apply`` with its parameters given: observations to outputs."""

    def scale_output(self, theta: Tensor, factor: Tensor) -> Tensor:
        """Parameters ``[S, P]`` whose outputs are ``factor [S, 1]`` times as large."""

    def linearize(self, theta: Tensor, obs: Tensor) -> tuple[Tensor, Pullback]:
        """Outputs ``[B, out]`` of one replica, and how weighted sums of gradients follow.

        The pullback goes backward through the network once for any number of weightings, and
        then makes one matrix product for each: many estimators share the same score function.

        Args:
            theta: ``[P]``.
            obs: ``[B, *obs]``.
        """


@dataclass(frozen=True)
class MLP:
    """Fully connected tanh network; with two sizes it is linear.

    Attributes:
        sizes: width of the input, of every hidden layer, and of the output.
        obs_ndim: number of trailing axes of an observation; 0 means a state number, one-hot coded.
        output_gain: scale of the last layer's initial weights. Small for a policy, so that it
            starts near uniform.
    """

    sizes: tuple[int, ...]
    obs_ndim: int = 1
    output_gain: float = 1.0

    @property
    def num_params(self) -> int:
        """Weights and biases of all layers."""
        return sum((n + 1) * m for n, m in pairwise(self.sizes))

    @property
    def width(self) -> int:
        """Inputs, activations and outputs."""
        return sum(self.sizes)

    def init(self, generators: Sequence[np.random.Generator]) -> Tensor:
        """Orthogonal weights (gain √2 in hidden layers), zero biases: ``[S, P]``, float32."""
        layers = list(pairwise(self.sizes))
        rows = []
        for generator in generators:
            parts = []
            for i, (n, m) in enumerate(layers):
                gain = self.output_gain if i == len(layers) - 1 else np.sqrt(2)
                parts += [gain * _orthogonal(generator, n, m).ravel(), np.zeros(m)]
            rows.append(np.concatenate(parts))
        return torch.as_tensor(np.stack(rows), dtype=torch.float32)

    def apply(self, theta: Tensor, obs: Tensor) -> Tensor:
        """Outputs ``[S, ..., out]`` for observations ``[S, ..., *obs]``; differentiable in θ."""
        if not (torch.is_grad_enabled() and theta.requires_grad):
            return self.bind(theta)(obs)
        rows = self._rows(theta, obs)
        outputs: Tensor = _MLPFunction.apply(
            theta, _padded_rows(rows, max(LANES, self._least_rows())), self
        )
        return outputs[:, : rows.shape[1]].reshape(*self._batch(obs), self.sizes[-1])

    def bind(self, theta: Tensor) -> Forward:
        """The function of the observations alone, with θ cut into layers once for many calls."""
        layers = self._layers(theta.detach())
        least = self._least_rows()

        def forward(obs: Tensor) -> Tensor:
            rows = self._rows(theta, obs)
            pieces = [_forward(layers, x)[-1] for x in _pieces(_padded_rows(rows, least))]
            outputs = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)
            return outputs[:, : rows.shape[1]].reshape(*self._batch(obs), self.sizes[-1])

        return forward

    def scale_output(self, theta: Tensor, factor: Tensor) -> Tensor:
        """The last layer, times ``factor``."""
        last = (self.sizes[-2] + 1) * self.sizes[-1]
        return torch.cat([theta[:, :-last], factor * theta[:, -last:]], dim=1)

    @torch.no_grad()
    def linearize(self, theta: Tensor, obs: Tensor) -> tuple[Tensor, Pullback]:
        """See ``Network.linearize``."""
        layers = self._layers(theta.unsqueeze(0))
        *inputs, output = (x[0] for x in _forward(layers, self._rows(theta, obs.unsqueeze(0))))

        def of_block(delta: Tensor, weights: Tensor, parts: Sequence[int], rows: slice) -> Tensor:
            w = _padded(weights.T, parts).transpose(1, 2).contiguous()
            sums: list[Tensor] = []
            for i in reversed(range(len(layers))):
                x = inputs[i][rows]
                d = _padded(delta, parts)
                sums += [w @ d, _weighted_products(_padded(x, parts), d, w)]
                if i:
                    delta = _through_tanh(delta @ layers[i][1][0].T, x)
            return torch.cat(sums[::-1], dim=-1)

        @torch.no_grad()
        def pullback(direction: Tensor, weights: Tensor, lengths: Sequence[int]) -> Tensor:
            blocks, first = [], 0
            for parts in _blocks(lengths):
                rows = slice(first, first := first + sum(parts))
                blocks.append(of_block(direction[rows], weights[:, rows], parts, rows))
            return torch.cat(blocks)

        return output, pullback

    def _layers(self, theta: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Biases ``[S, 1, m]`` and weights ``[S, n, m]``."""
        shapes = list(pairwise(self.sizes))
        parts = theta.split([k for n, m in shapes for k in (n * m, m)], dim=1)
        return [
            (bias.unsqueeze(1), weight.view(-1, n, m))
            for weight, bias, (n, m) in zip(parts[::2], parts[1::2], shapes, strict=True)
        ]

    def _batch(self, obs: Tensor) -> torch.Size:
        return obs.shape[: obs.ndim - self.obs_ndim]

    def _rows(self, theta: Tensor, obs: Tensor) -> Tensor:
        """Observations ``[S, ..., *obs]`` as rows ``[S, B, n]`` of θ's type."""
        replicas, *batch = self._batch(obs)
        if self.obs_ndim == 0:
            obs = torch.nn.functional.one_hot(obs, self.sizes[0])
        return obs.reshape(replicas, prod(batch), self.sizes[0]).to(theta.dtype)

    def _least_rows(self) -> int:
        """Rows of which a multiple is multiplied: see ``_padded_rows``."""
        products = [n * max(2, m) for n, m in pairwise(self.sizes)]
        activations = gcd(LANES, *self.sizes[1:-1])
        return max(LANES // activations, 2 ** ceil(log2(max(4, LEAST_PRODUCT / min(products)))))


class _MLPFunction(torch.autograd.Function):
    """An MLP as one node of the graph: forward and backward piece by piece, in the cache.

    Layer by layer over a whole batch, every activation would travel to memory and back several
    times.
    """

    @staticmethod
    def forward(ctx: Any, theta: Tensor, rows: Tensor, network: MLP) -> Tensor:
        layers = network._layers(theta)
        ctx.network, ctx.pieces = network, [_forward(layers, x) for x in _pieces(rows)]
        ctx.save_for_backward(theta)
        return torch.cat([piece.pop() for piece in ctx.pieces], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor, None, None]:
        (theta,) = ctx.saved_tensors
        gradient = torch.zeros_like(theta)
        layers, of_layers = ctx.network._layers(theta), ctx.network._layers(gradient)
        first = 0
        for inputs in ctx.pieces:
            delta = direction[:, first : (first := first + inputs[0].shape[1])]
            for i in reversed(range(len(layers))):
                bias, weight = of_layers[i]
                products = (x.split(ROWS_OF_PRODUCT, dim=1) for x in (inputs[i], delta))
                for x, d in zip(*products, strict=True):
                    weight += (x.transpose(1, 2) @ _columns(d))[..., : weight.shape[2]]
                    bias += d.sum(1, keepdim=True)
                if i:
                    delta = _through_tanh(delta @ layers[i][1].transpose(1, 2), inputs[i])
        return gradient, None, None


def _forward(layers: Sequence[tuple[Tensor, Tensor]], x: Tensor) -> list[Tensor]:
    """Inputs of all layers, and the outputs: ``[S, B, ·]`` each."""
    inputs = [x]
    for bias, weight in layers[:-1]:
        # tanh x = 1 − 2σ(−2x), and torch's σ is five times as fast as its tanh.
        x = torch.rsub(torch.baddbmm(bias, x, weight, beta=-2, alpha=-2).sigmoid_(), 1, alpha=2)
        inputs.append(x)
    bias, weight = layers[-1]
    return [*inputs, torch.baddbmm(bias, x, _columns(weight))[..., : weight.shape[2]]]


def _columns(x: Tensor) -> Tensor:
    """A single column twice: for one replica torch multiplies one column by another kernel."""
    return x.expand(-1, -1, 2) if x.shape[2] == 1 else x


def _through_tanh(gradient: Tensor, output: Tensor) -> Tensor:
    """The gradient before a tanh, from the one after it and the tanh's output; in place."""
    return gradient.addcmul_(output.square(), gradient, value=-1)


def _padded_rows(rows: Tensor, multiple: int) -> Tensor:
    """Rows ``[S, B, n]``, and zeros up to the next multiple.

    A replica's result must not depend on its company, in no bit, and how many rows it has with
    padding does. Of few rows a product is found by another kernel; numbers are added up in another
    order where they are no multiple of a processor's lanes, or very many; and σ is rounded
    otherwise in the last entries of a tensor, which do not fill the lanes. (Where a layer's width
    is odd, one replica's products may still differ from many replicas' in the last bit.)
    """
    missing = -rows.shape[1] % multiple
    return torch.nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows


def _pieces(rows: Tensor) -> Sequence[Tensor]:
    """Rows ``[S, B, n]``, as many at once as stay in the cache."""
    at_once = max(1, ROWS_IN_CACHE // (len(rows) * ROWS_OF_PRODUCT)) * ROWS_OF_PRODUCT
    return [rows] if rows.shape[1] <= at_once else rows.split(at_once, dim=1)


def _blocks(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Consecutive parts together, as many as stay in the cache."""
    block: list[int] = []
    for length in lengths:
        if block and sum(block) + length > ROWS_IN_CACHE:
            yield block
            block = []
        block.append(length)
    yield block


def _padded(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """Consecutive parts of ``[B, ...]``, padded with zeros: ``[K, longest, ...]``."""
    if len(lengths) == 1:
        return x.unsqueeze(0)
    return pad_sequence(x.split(list(lengths)), batch_first=True)


def _weighted_products(x: Tensor, delta: Tensor, weights: Tensor) -> Tensor:
    """Σ_t w_ket x_kt ⊗ delta_kt: ``[K, T, n]``, ``[K, T, m]``, ``[K, E, T]`` → ``[K, E, n·m]``.

    The narrower factor carries the weights: one product with all of them side by side.
    """
    n, m = x.shape[2], delta.shape[2]
    narrow, wide = (x, delta) if n < m else (delta, x)
    columns = narrow.transpose(1, 2).contiguous().unsqueeze(1)
    carried = columns * weights.unsqueeze(2)
    products = (carried.flatten(1, 2) @ wide).unflatten(1, carried.shape[1:3])
    return (products if n < m else products.transpose(2, 3)).flatten(2)


def _orthogonal(generator: np.random.Generator, n: int, m: int) -> np.ndarray:
    """A matrix ``[n, m]`` with orthonormal rows or columns (Saxe et al. 2014)."""
    q, r = np.linalg.qr(generator.standard_normal((max(n, m), min(n, m))))
    q = q * np.sign(np.diag(r))
    return q if n >= m else q.T


@dataclass(frozen=True)
class Table:
    """One row of outputs for every state, initially all zero; observations are state numbers."""

    num_states: int
    num_outputs: int

    @property
    def num_params(self) -> int:
        """Entries of the table."""
        return self.num_states * self.num_outputs

    @property
    def width(self) -> int:
        """Outputs."""
        return self.num_outputs

    def init(self, generators: Sequence[np.random.Generator]) -> Tensor:
        """Zeros ``[S, P]``: the uniform policy, and values of nothing."""
        return torch.zeros(len(generators), self.num_params)

    def apply(self, theta: Tensor, obs: Tensor) -> Tensor:
        """Outputs ``[S, ..., out]`` for states ``[S, ...]``."""
        return self.bind(theta)(obs)

    def bind(self, theta: Tensor) -> Forward:
        """The function of the states alone."""
        table = theta.view(-1, self.num_states, self.num_outputs)

        def forward(obs: Tensor) -> Tensor:
            state = obs.flatten(1).unsqueeze(-1).expand(-1, -1, self.num_outputs)
            return table.gather(1, state).view(*obs.shape, self.num_outputs)

        return forward

    def scale_output(self, theta: Tensor, factor: Tensor) -> Tensor:
        """All entries, times ``factor``."""
        return factor * theta

    @torch.no_grad()
    def linearize(self, theta: Tensor, obs: Tensor) -> tuple[Tensor, Pullback]:
        """See ``Network.linearize``."""

        @torch.no_grad()
        def pullback(direction: Tensor, weights: Tensor, lengths: Sequence[int]) -> Tensor:
            part = torch.arange(len(lengths), device=obs.device)
            part = part.repeat_interleave(torch.tensor(lengths, device=obs.device))
            entry = part * self.num_states + obs
            total = theta.new_zeros(len(lengths) * self.num_states, len(weights), self.num_outputs)
            total.index_add_(0, entry, weights.T.unsqueeze(2) * direction.unsqueeze(1))
            return total.unflatten(0, (len(lengths), -1)).transpose(1, 2).flatten(2)

        return theta.view(self.num_states, self.num_outputs)[obs], pullback


def make_policy(kind: str, info: EnvInfo, hidden: Sequence[int]) -> Network:
    """From observations to action preferences; near uniform at the start.

    Args:
        kind: mlp, linear or tabular.
        info: of the environment.
        hidden: widths of an mlp's hidden layers.
    """
    return _make_network(kind, info, info.num_actions, hidden, POLICY_OUTPUT_GAIN)


def make_critic(
    kind: str, info: EnvInfo, hidden: Sequence[int], of: Literal["state", "action"]
) -> Network:
    """A critic like the policy: V(s), or q(s, a) of all actions."""
    outputs = 1 if of == "state" else info.num_actions
    return _make_network(kind, info, outputs, hidden, CRITIC_OUTPUT_GAIN)


def _make_network(
    kind: str, info: EnvInfo, num_outputs: int, hidden: Sequence[int], output_gain: float
) -> Network:
    space = info.observation_space
    if isinstance(space, spaces.Discrete):
        num_inputs, obs_ndim = int(space.n), 0
        if kind == "tabular":
            return Table(num_inputs, num_outputs)
    else:
        num_inputs, obs_ndim = prod(space.shape), len(space.shape)
    layers = tuple(hidden) if kind == "mlp" else ()
    return MLP((num_inputs, *layers, num_outputs), obs_ndim, output_gain)
