"""Every estimator refuses arguments of another shape, kind or range than it says."""

import inspect
import math
import re

import pytest
import torch

from pgzoo import estimators
from pgzoo.errors import UsageError

MASK = torch.ones(2, 4, 5, dtype=torch.bool)
X = torch.zeros(2, 4, 5)
RETURNS = torch.zeros(2, 4)
ACTIONS = torch.zeros(2, 4, 5, 3)
PER_STEP = {"returns": X, "mask": MASK}
POLICIES = {"log_prob": X, "old_log_prob": X, "mask": MASK}
CLIPPED = {"ratio": X, "psi": X, "clip": 0.2}
TRANSITIONS = {"reward": X, "value": X, "next_value": X, "terminated": MASK, "mask": MASK}

VALID = {
    "aggregation_weights": {"mask": MASK, "aggregation": "sum"},
    "all_actions_surrogate": {"log_probs": ACTIONS, "action_values": ACTIONS},
    "batch_mean_baseline": PER_STEP,
    "centered_action_values": {"q": ACTIONS, "log_probs": ACTIONS},
    "clipped_surrogate": CLIPPED,
    "clipped_value_loss": {"value": X, "old_value": X, "target": X, "clip": 0.0},
    "clipped_weight": CLIPPED,
    "discount_weights": {"mask": MASK, "gamma": 0.9},
    "episode_return": {"reward": X, "mask": MASK, "gamma": 0.9},
    "explained_variance": {"prediction": X, "target": X, "mask": MASK},
    "gae": TRANSITIONS | {"truncated": MASK, "gamma": 0.9, "lam": 0.9},
    "group_center": {"returns": RETURNS, "group_size": 2},
    "group_standardize": {"returns": RETURNS, "group_size": 2, "eps": 1e-6},
    "importance_ratio": POLICIES,
    "is_clipped": CLIPPED,
    "kl_estimate": {"log_prob": X, "reference_log_prob": X, "estimator": "k3"},
    "leave_one_out": {"returns": RETURNS, "group_size": 2},
    "leave_one_out_per_step": PER_STEP | {"group_size": 2},
    "optimal_constant_baseline": {"return_score": X, "score": X},
    "penalized_reward": {
        "reward": X,
        "log_prob": X,
        "reference_log_prob": X,
        "mask": MASK,
        "coef": 0.1,
    },
    "returns_to_go": {"reward": X, "mask": MASK, "gamma": 0.9},
    "root_mean_square": {"psi": X, "mask": MASK, "eps": 1e-8},
    "score_function_surrogate": {"log_prob": X, "psi": X},
    "step_mean": {"x": X, "mask": MASK},
    "td_errors": TRANSITIONS | {"gamma": 0.9},
    "time_step_mean_baseline": PER_STEP,
    "trajectory_ratio": POLICIES,
    "whiten": {"psi": X, "mask": MASK, "eps": 1e-8},
}
OUTSIDE = {
    "gamma": (-0.1, 2, math.nan),
    "lam": (-0.1, 1.01, math.nan),
    "eps": (-1e-9, math.inf, math.nan),
    "coef": (-0.1, math.inf, math.nan),
    "group_size": (-1, 0, 3, 8),
    "aggregation": ("median",),
    "estimator": ("k4",),
    "clip": (-0.1, math.nan),
}
LEAST_AXES = {
    "kl_estimate": 0,
    "clipped_value_loss": 0,
    "centered_action_values": 1,
    "clipped_surrogate": 1,
    "clipped_weight": 1,
    "group_center": 1,
    "group_standardize": 1,
    "importance_ratio": 1,
    "is_clipped": 1,
    "leave_one_out": 1,
    "score_function_surrogate": 1,
    "trajectory_ratio": 1,
}
TENSORS = [(f, n) for f, args in VALID.items() for n, x in args.items() if torch.is_tensor(x)]
NUMBERS = [(f, n) for f, args in VALID.items() for n, x in args.items() if not torch.is_tensor(x)]


def call(function, **changed):
    return getattr(estimators, function)(**VALID[function] | changed)


def test_the_table_is_complete():
    functions = {n for n in estimators.__all__ if inspect.isfunction(getattr(estimators, n))}
    assert VALID.keys() == functions
    for name, arguments in VALID.items():
        assert arguments.keys() == inspect.signature(getattr(estimators, name)).parameters.keys()
        call(name)


def with_axes(function, count):
    """Valid arguments but for their number of axes, the last ones."""
    tensors = {k: x for k, x in VALID[function].items() if torch.is_tensor(x)}
    return {k: x[(0,) * (x.ndim - count)] for k, x in tensors.items()}


@pytest.mark.parametrize("function", VALID)
def test_axes(function):
    least = LEAST_AXES.get(function, 2)
    call(function, **with_axes(function, least))
    if least:
        with pytest.raises(UsageError, match=r"^Expected .* \[\.\.\., .*\], got \["):
            call(function, **with_axes(function, least - 1))


@pytest.mark.parametrize(("function", "name"), TENSORS)
def test_one_shape(function, name):
    """What torch would broadcast in silence is refused too."""
    tensor = VALID[function][name]
    if sum(torch.is_tensor(x) for x in VALID[function].values()) > 1:
        for other in (tensor[:1], tensor[..., :1], tensor[0]):
            with pytest.raises(UsageError, match=r"^Expected .*'s shape \[.*\], got \["):
                call(function, **{name: other})


@pytest.mark.parametrize(("function", "name"), TENSORS)
def test_kinds(function, name):
    tensor = VALID[function][name]
    wrong = tensor.float() if tensor.dtype == torch.bool else tensor.long()
    said = "true or false" if tensor.dtype == torch.bool else "floating-point"
    with pytest.raises(UsageError, match=f"^Expected {name} to be .*{said}.* Try {name}"):
        call(function, **{name: wrong})
    with pytest.raises(UsageError, match=f"^Expected {name} to be a tensor, got list"):
        call(function, **{name: tensor.tolist()})


@pytest.mark.parametrize(("function", "name"), NUMBERS)
def test_ranges(function, name):
    for value in OUTSIDE[name]:
        with pytest.raises(UsageError, match=f"^Expected .*{value!r}"):
            call(function, **{name: value})


@pytest.mark.parametrize("function", ["clipped_surrogate", "clipped_weight", "is_clipped"])
def test_a_ratio_is_clipped_inside_0_and_2(function):
    for clip in (0, 1, 2):
        with pytest.raises(UsageError, match=re.escape(f"Expected clip in (0, 1), got {clip}.")):
            call(function, clip=clip)


@pytest.mark.parametrize(("function", "name"), [c for c in NUMBERS if c[1] in ("gamma", "lam")])
def test_both_ends_are_allowed(function, name):
    call(function, **{name: 0})
    call(function, **{name: 1})


def test_messages_say_what_was_expected_and_what_was_given():
    with pytest.raises(UsageError) as error:
        estimators.returns_to_go(X, MASK[0, 0], 0.9)
    want = "Expected mask [..., N, T] of reward's shape [2, 4, 5], got [5]."
    assert str(error.value) == want
    with pytest.raises(UsageError) as error:
        estimators.returns_to_go(X[0, 0], MASK[0, 0], 0.9)
    want = "Expected reward [..., N, T], got [5]. A leading axis of one is added by reward[None]."
    assert str(error.value) == want


def test_contents_are_nobodys_business():
    for function, arguments in VALID.items():
        spoiled = {
            k: torch.full_like(x, torch.nan)
            for k, x in arguments.items()
            if torch.is_tensor(x) and x.is_floating_point()
        }
        call(function, **spoiled)
