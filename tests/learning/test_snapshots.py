import dataclasses
import json

import torch

from pgzoo.learning.snapshots import take_snapshots
from pgzoo.learning.state import Replica, TrainState
from pgzoo.learning.update import Learners, Parameters


def state(steps, values, finished=(False, False)):
    replicas = tuple(
        Replica(i, env_steps=n, finished=f)
        for i, (n, f) in enumerate(zip(steps, finished, strict=True))
    )
    theta = torch.tensor(values).unsqueeze(1)
    return TrainState(0, replicas, Learners(Parameters.start(theta)))


def test_every_replica_is_kept_as_it_was_at_its_own_share():
    before, whole = take_snapshots(None, state((0, 0), [0.0, 0.5]), 100)
    assert {p: x.flatten().tolist() for p, x in whole.items()} == {0: [0.0, 0.5]}
    found = {}
    course = [
        state((25, 9), [1.0, 1.5]),
        state((30, 21), [2.0, 2.5]),
        state((40, 100), [3.0, 3.5], (False, True)),
        state((41, 100), [4.0, 3.5], (True, True)),  # it is stopped there
    ]
    for now in course:
        now = dataclasses.replace(now, pending=before.pending)
        before, whole = take_snapshots(before, now, 100)
        assert not found.keys() & whole.keys()
        found |= {percent: rows.flatten().tolist() for percent, rows in whole.items()}
        tensors, rest = before.to_checkpoint()
        copy = TrainState.from_checkpoint(tensors, json.loads(json.dumps(rest)), "cpu")
        assert copy.pending.keys() == before.pending.keys()
        assert all(torch.equal(copy.pending[p], before.pending[p]) for p in copy.pending)
    assert found == {
        10: [1.0, 2.5],
        20: [1.0, 2.5],
        30: [2.0, 3.5],
        40: [3.0, 3.5],
        **{percent: [4.0, 3.5] for percent in range(50, 101, 10)},
    }
    assert not before.pending
