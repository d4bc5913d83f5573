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
from math import prod
from typing import Literal, Protocol

import numpy as np
import torch
from gymnasium import spaces
from pgzoo_envs import EnvInfo
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pgzoo.sampling.pieces import ROWS_OF_A_PIECE

Forward = Callable[[Tensor], Tensor]
Pullback = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""Directions ``[B, out]``, weights ``[E, B]`` and the lengths of K parts of the B observations to
Σ_b w_eb (∂out_b/∂θ)ᵀ direction_b over each part, ``[K, E, P]``."""

ROWS_IN_CACHE = 4096
POLICY_OUTPUT_GAIN, CRITIC_OUTPUT_GAIN = 0.01, 1.0


class Network(Protocol):
    """What the training loop asks of a network."""

    @property
    def num_params(self) -> int:
        """Length P of one replica's parameter row."""

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
        """Outputs ``[S, ..., out]`` for observations ``[S, ..., *obs]``."""
        return self.bind(theta)(obs)

    def bind(self, theta: Tensor) -> Forward:
        """The function of the observations alone, with θ cut into layers once for many calls."""
        layers = self._layers(theta)

        def outputs(x: Tensor) -> Tensor:
            x = x.to(theta.dtype)
            for i, (bias, weight) in enumerate(layers):
                x = _baddbmm(bias, x, weight)
                if i < len(layers) - 1:
                    x = x.tanh_()  # in place: nothing else needs the sum
            return x

        def forward(obs: Tensor) -> Tensor:
            batch = obs.shape[: obs.ndim - self.obs_ndim]
            x = self._inputs(obs).view(batch[0], prod(batch[1:]), self.sizes[0])
            pieces = [outputs(piece) for piece in x.split(ROWS_OF_A_PIECE, dim=1)]
            out = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)
            return out.view(*batch, self.sizes[-1])

        return forward

    def scale_output(self, theta: Tensor, factor: Tensor) -> Tensor:
        """The last layer, times ``factor``."""
        last = (self.sizes[-2] + 1) * self.sizes[-1]
        return torch.cat([theta[:, :-last], factor * theta[:, -last:]], dim=1)

    @torch.no_grad()
    def linearize(self, theta: Tensor, obs: Tensor) -> tuple[Tensor, Pullback]:
        """See ``Network.linearize``."""
        layers = [(bias[0], weight[0]) for bias, weight in self._layers(theta.unsqueeze(0))]
        inputs = [self._inputs(obs).to(theta.dtype)]
        for bias, weight in layers[:-1]:
            # tanh x = 2σ(2x) − 1, and torch's σ is ten times as fast as its tanh.
            x = torch.addmm(bias, inputs[-1], weight).mul_(2).sigmoid_()
            inputs.append(x.mul_(2).sub_(1))
        output = torch.addmm(layers[-1][0], inputs[-1], layers[-1][1])

        def of_block(delta: Tensor, weights: Tensor, parts: Sequence[int], rows: slice) -> Tensor:
            w = _padded(weights.T, parts).transpose(1, 2).contiguous()
            sums: list[Tensor] = []
            for i in reversed(range(len(layers))):
                x = inputs[i][rows]
                d = _padded(delta, parts)
                sums += [w @ d, _weighted_products(_padded(x, parts), d, w)]
                if i:
                    back = delta @ layers[i][1].T
                    delta = back.addcmul_(x.square(), back, value=-1)
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

    def _inputs(self, obs: Tensor) -> Tensor:
        """Observations as rows ``[..., n]`` of one axis each."""
        if self.obs_ndim == 0:
            return torch.nn.functional.one_hot(obs, self.sizes[0])
        return obs.reshape(-1, self.sizes[0])


def _baddbmm(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """``torch.baddbmm``, which takes a way of its own for one column of one replica."""
    if weight.shape[0] == weight.shape[2] == 1:
        return torch.baddbmm(*(y.expand(2, -1, -1) for y in (bias, x, weight)))[:1]
    return torch.baddbmm(bias, x, weight)


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
