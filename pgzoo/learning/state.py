"""Everything between two iterations: what replicas have learned, and what is known of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pgzoo.learning.update import Learners, Parameters
from pgzoo.records.checkpoint import NO_METRICS
from pgzoo.records.intervals import WINDOW, is_candidate
from pgzoo.sampling.ongoing import Ongoing
from pgzoo.sampling.trajectories import FinishedEpisodes


@dataclass(frozen=True)
class Replica:
    """What is known of one learner besides its parameters.

    Attributes:
        seed: names the replica and all its random numbers.
        env_steps: environment steps taken so far.
        episodes: episodes finished so far.
        recent: returns of the last ``WINDOW`` of them.
        looked: ``episodes`` when they last reached the environment's threshold.
        steps_to_threshold: environment steps when they did, and fresh episodes confirmed it.
        failed: why the replica was stopped, if it was.
        finished: used up its steps, solved the environment and was to stop then, or failed.
    """

    seed: int
    env_steps: int = 0
    episodes: int = 0
    recent: tuple[float, ...] = ()
    looked: int | None = None
    steps_to_threshold: int | None = None
    failed: str | None = None
    finished: bool = False

    @property
    def recent_mean(self) -> float | None:
        """Mean return of the last episodes."""
        return sum(self.recent) / len(self.recent) if self.recent else None

    def after(self, steps: int, finished: FinishedEpisodes) -> Replica:
        """The replica after an iteration."""
        return dataclasses.replace(
            self,
            env_steps=self.env_steps + steps,
            episodes=self.episodes + len(finished.returns),
            recent=(*self.recent, *finished.returns)[-WINDOW:],
        )

    def seems_to_have_reached(self, threshold: float | None) -> bool:
        """Whether fresh episodes should say if the threshold is reached."""
        if threshold is None or self.steps_to_threshold is not None or self.failed is not None:
            return False
        return is_candidate(self.recent, self.episodes, self.looked, threshold)

    def confirmed(self, reached: bool) -> Replica:
        """The replica after fresh episodes said whether the threshold is reached."""
        steps = self.env_steps if reached else None
        return dataclasses.replace(self, looked=self.episodes, steps_to_threshold=steps)


@dataclass(frozen=True)
class TrainState:
    """Everything between two iterations.

    Attributes:
        iteration: iterations done.
        replicas: one for each seed.
        learners: their parameters.
        ongoing: where segments stand, if the agent learns from them and somebody goes on.
        pending: snapshots that some replicas have come to and others not yet, by percent:
            parameters ``[S, P]``, zeros in the rows that are missing.
        metrics_size: length of ``metrics.csv`` in bytes.
        metrics_digest: SHA-256 of that much.
    """

    iteration: int
    replicas: tuple[Replica, ...]
    learners: Learners
    ongoing: Ongoing | None = None
    pending: Mapping[int, Tensor] = field(default_factory=dict)
    metrics_size: int = 0
    metrics_digest: str = NO_METRICS

    @property
    def running(self) -> list[int]:
        """Positions of the replicas that go on."""
        return [i for i, replica in enumerate(self.replicas) if not replica.finished]

    @property
    def steps(self) -> int:
        """Environment steps of all replicas."""
        return sum(r.env_steps for r in self.replicas)

    def share(self, budget: int) -> float:
        """How much of the run is done, in [0, 1]; who has finished needs no more steps."""
        done = sum(min(r.env_steps, budget) for r in self.replicas)
        left = sum(max(budget - r.env_steps, 0) for r in self.replicas if not r.finished)
        return done / (done + left) if left else 1.0

    def to_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON state."""
        parts = {"policy": self.learners.policy.tensors()}
        if self.learners.critic is not None:
            parts["critic"] = self.learners.critic.tensors()
        if self.learners.reference is not None:
            parts["reference"] = {"values": self.learners.reference}
        if self.ongoing is not None:
            parts["ongoing"] = self.ongoing.tensors()
        parts["pending"] = {str(percent): rows for percent, rows in self.pending.items()}
        tensors = {f"{part}.{k}": v for part, named in parts.items() for k, v in named.items()}
        return tensors, self.to_json()

    def to_json(self) -> dict[str, Any]:
        """What there is beside tensors: ``schema.State``."""
        replicas = [dataclasses.asdict(r) for r in self.replicas]
        return {
            "iteration": self.iteration,
            "replicas": [r | {"recent": list(r["recent"])} for r in replicas],
            "metrics_size": self.metrics_size,
            "metrics_digest": self.metrics_digest,
        }

    @classmethod
    def from_checkpoint(
        cls, tensors: dict[str, Tensor], state: dict[str, Any], device: str
    ) -> TrainState:
        """The inverse of ``to_checkpoint``.

        Args:
            tensors: as ``RunFolder.load_checkpoint`` gives them, which checks them.
            state: likewise.
            device: for the learners.
        """

        def part(name: str, device: str) -> dict[str, Tensor]:
            prefix = name + "."
            return {
                k.removeprefix(prefix): v.to(device)
                for k, v in tensors.items()
                if k.startswith(prefix)
            }

        critic, ongoing = part("critic", device), part("ongoing", "cpu")
        return cls(
            iteration=state["iteration"],
            replicas=tuple(
                Replica(**r | {"recent": tuple(r["recent"])}) for r in state["replicas"]
            ),
            learners=Learners(
                Parameters.from_tensors(part("policy", device)),
                Parameters.from_tensors(critic) if critic else None,
                part("reference", device).get("values"),
            ),
            ongoing=Ongoing.from_tensors(ongoing) if ongoing else None,
            pending={int(percent): rows for percent, rows in part("pending", device).items()},
            metrics_size=state["metrics_size"],
            metrics_digest=state["metrics_digest"],
        )
