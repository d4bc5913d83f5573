"""``pgzoo.train`` and ``pgzoo.load``: a training run as a Python object."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pgzoo_envs import DISCRETISERS, describe

from pgzoo.agents import AGENTS, place_in_zoo
from pgzoo.agents.custom import is_file_and_function
from pgzoo.agents.guard import restored
from pgzoo.errors import UsageError
from pgzoo.learning.arguments import AgentName, agent_of, configure, device_here, distinct
from pgzoo.learning.common import DEFAULT_DIAGNOSES
from pgzoo.learning.evaluate import EPISODES, evaluate
from pgzoo.learning.loop import (
    CallbackError,
    TrainingInterrupted,
    TrainingStoppedError,
    run_training,
)
from pgzoo.learning.progress import Manner, Report, display
from pgzoo.learning.state import TrainState
from pgzoo.learning.stored import load_state, policies, stored_config
from pgzoo.learning.trainer import Trainer, describe_env, make_collector
from pgzoo.learning.update import Networks
from pgzoo.options import LARGEST_SEED, build, checked, checked_path, shown
from pgzoo.policies.networks import Network, make_policy
from pgzoo.policies.policy import Policy
from pgzoo.records.config import RunConfig
from pgzoo.records.metrics_file import read_metrics
from pgzoo.records.run_folder import RunFolder
from pgzoo.records.tensorboard import MOST_SEED_CURVES
from pgzoo.records.times_file import HEADER, read_times
from pgzoo.records.words import in_words, ranges
from pgzoo.sampling import memory

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from pgzoo.records.film import Film

MENDED = (
    "A mended function is another estimator: start a new run with it. If the cause lay outside of "
    "it, go on with"
)


def train(
    agent: AgentName,
    *,
    env: str,
    seeds: int | Iterable[int] = 10,
    policy: str = "mlp",
    out: str | Path | None = None,
    device: str = "auto",
    max_episode_steps: int | None = None,
    stop_when_solved: bool = False,
    diagnostics: int = DEFAULT_DIAGNOSES,
    compare_estimators: bool = False,
    tensorboard_seeds: bool = False,
    progress: bool | Manner = True,
    callback: Callable[[Report], Any] | None = None,
    **options: Any,
) -> Run:
    """Train an agent: many seeds side by side.

    Args:
        agent: a name of the zoo, ``FILE.py:FUNCTION``, or a function from trajectories to Ψ.
        env: id of a Gymnasium environment with discrete actions.
        seeds: how many, from 0 on, or which.
        policy: mlp, linear or tabular.
        out: folder for the results; None: a temporary one, which goes with the run.
        device: auto, cpu or cuda; auto is cuda if there is one.
        max_episode_steps: time limit in place of the environment's own.
        stop_when_solved: a seed stops when it has reached the environment's threshold.
        diagnostics: how often in a run each seed's gradient is diagnosed; 0: never.
        compare_estimators: diagnose the other estimators that fit on the same batches, too.
        tensorboard_seeds: every seed is a TensorBoard run of its own, beside that of all of them.
        progress: whether a bar shows it, or which: rich, tqdm, lines, none.
        callback: called with a report after every iteration; the run stops if it returns True,
            and can be resumed. What it raises is raised, after saving.
        options: of the agent, in place of its defaults for the environment.

    Raises:
        UsageError: for what cannot be trained.
        TrainingInterrupted: on Ctrl-C, after saving.
        TrainingStoppedError: a UsageError, if a function of yours fails after the first
            iteration; all before is saved.
    """
    config, made = configure(
        agent,
        env=env,
        seeds=seeds,
        policy=policy,
        device=device,
        max_episode_steps=max_episode_steps,
        stop_when_solved=stop_when_solved,
        diagnostics=diagnostics,
        compare_estimators=compare_estimators,
        **options,
    )
    out = None if out is None else checked_path("out", out)
    tensorboard_seeds = checked("tensorboard_seeds", tensorboard_seeds, bool)
    _check_callback(callback)
    if tensorboard_seeds and len(config.seeds) > MOST_SEED_CURVES:
        raise UsageError(
            f"Expected at most {MOST_SEED_CURVES} `seeds` with `tensorboard_seeds`, got "
            f"{len(config.seeds):,}: each would keep a file open, and be a TensorBoard run that "
            "hides others. Leave `tensorboard_seeds` out; the curve of all seeds has their band."
        )
    trainer = Trainer(config, made, config.device)
    trainer.initial_state()  # whatever is wrong shows before a folder is made
    temporary = None
    if out is None:
        temporary = tempfile.TemporaryDirectory(prefix="pgzoo-", ignore_cleanup_errors=True)
        out = Path(temporary.name) / "run"
    run = Run(RunFolder.create(out, config), temporary)
    run.go_on(trainer, progress, callback, tensorboard_seeds)
    return run


def load(path: str | Path) -> Run:
    """A run, from the folder that training left.

    Raises:
        UsageError: if the folder holds none.
    """
    run = Run(RunFolder.open(checked_path("run", path)))
    assert run.config  # whatever is wrong with it shows now
    return run


class Run:
    """A training run: its results, and its policies.

    Args:
        folder: that holds it.
        temporary: keeps a temporary folder for as long as the run is used.
    """

    def __init__(self, folder: RunFolder, temporary: Any = None) -> None:
        self._folder, self._temporary = folder, temporary

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._folder.path

    @cached_property
    def config(self) -> RunConfig:
        """All that is needed to repeat it."""
        return stored_config(self._folder)

    @property
    def summary(self) -> dict[str, Any] | None:
        """Results of the complete run, as in ``summary.json``; None before."""
        return self._folder.summary()

    @property
    def metrics(self) -> pd.DataFrame:
        """What ``metrics.csv`` held at the last checkpoint, one line per iteration and seed."""
        import pandas as pd

        columns = read_metrics(self._folder)
        if not columns:
            raise UsageError(f"{self.path} has no metrics yet: no iteration is complete.")
        return pd.DataFrame(columns)

    @property
    def times(self) -> pd.DataFrame:
        """When each iteration was over, in seconds from the run's begin."""
        import pandas as pd

        return pd.DataFrame(read_times(self._folder), columns=list(HEADER))

    def evaluate(self, episodes: int = EPISODES, *, greedy: bool = False) -> pd.DataFrame:
        """Returns of fresh episodes ``[episodes, S]``, a column for each seed; the run stays as is.

        Args:
            episodes: of each policy.
            greedy: the most probable actions instead of sampled ones.

        Returns:
            a DataFrame; the columns of seeds that failed in training are NaN.
        """
        import pandas as pd

        episodes = checked("episodes", episodes, minimum=1)
        greedy = checked("greedy", greedy, bool)
        memory.check_returns(len(self.config.seeds), episodes)
        device = self._device()
        state = self._state(device)
        alive = [i for i, r in enumerate(state.replicas) if r.failed is None]
        table = pd.DataFrame(np.nan, index=range(episodes), columns=list(self.config.seeds))
        table.columns.name, table.index.name = "seed", "episode"
        if alive:
            seeds = [self.config.seeds[i] for i in alive]
            collector = make_collector(self.config, device)
            try:
                returns = evaluate(
                    collector,
                    self._network(),
                    state.learners.policy.values[alive],
                    seeds,
                    episodes=episodes,
                    greedy=greedy,
                )
            finally:
                collector.close()
            table[seeds] = returns.T
        return table

    @property
    def has_seed_curves(self) -> bool:
        """Whether every seed is a TensorBoard run of its own, beside that of all of them."""
        return self._folder.has_seed_curves

    @property
    def failed(self) -> dict[int, str]:
        """Seeds whose training was stopped, with the reason."""
        replicas = self._state("cpu").replicas
        return {r.seed: r.failed for r in replicas if r.failed is not None}

    def policy(self, seed: int | None = None, *, at: int | None = None) -> Policy:
        """The policy of a seed.

        Args:
            seed: of the run; by default the first one.
            at: percent of the training after which it is taken, one of the run's snapshots; by
                default the last checkpoint.

        Raises:
            UsageError: if there is no such seed, snapshot or checkpoint.
        """
        seed = self.config.seeds[0] if seed is None else checked("seed", seed, minimum=0)
        if seed not in self.config.seeds:
            known = ranges(self.config.seeds)
            raise UsageError(f"Expected a `seed` of {self.path} ({known}), got {seed}.")
        if at is not None:
            at = checked("at", at, minimum=0, maximum=100)
        network = self._network()
        theta = policies(self._folder, network, at)
        env = describe(self.config.env, self.config.max_episode_steps)
        discretiser = None
        if self.config.policy_kind == "tabular":
            discretiser = DISCRETISERS.get(self.config.env)
        row = theta[self.config.seeds.index(seed)]
        return Policy(network, row, env.observation_space, discretiser, seed)

    def film(
        self,
        seed: int | Iterable[int] | None = None,
        at: int | Iterable[int] = (0, 100),
        *,
        episodes: int = 1,
        first: int = 0,
        greedy: bool = False,
        seconds: float = 20.0,
    ) -> Film:
        """Policies side by side in an episode that starts the same for all.

        A film shows itself in a notebook, and ``film.save(…)`` writes a GIF or an MP4. Episode k
        starts from the same state in every film, and actions are drawn with the same random
        numbers, so that films repeat and can be compared.

        Args:
            seed: of the run, one or several; by default the first whose training did not fail.
            at: percent of the training, one or several. 0 is untrained, 100 the last checkpoint,
                others are snapshots.
            episodes: how many, one after another.
            first: number of the first one; others start elsewhere.
            greedy: the most probable actions instead of sampled ones.
            seconds: the film is cut when it has played for so long.

        Raises:
            UsageError: if there is no such policy, or its training failed.
            pgzoo_envs.EnvError: if the environment cannot be drawn.
        """
        from pgzoo.learning.film import check_size, film

        greedy = checked("greedy", greedy, bool)
        c, failed = self.config, self.failed
        if seed is None:
            seed = next((s for s in c.seeds if s not in failed), c.seeds[0])
        seeds, moments = distinct("seed", seed, LARGEST_SEED), distinct("at", at, 100)
        check_size(len(seeds), len(moments))
        for s in seeds:
            if s in failed:
                raise UsageError(
                    f"Expected a `seed` whose training did not fail, got {s}: {failed[s]}. Choose "
                    "another one."
                )
        manner = ", most probable actions" if greedy else ""
        return film(
            [
                [
                    (f"seed {s}, {self._moment(m)}", self.policy(s, at=None if m == 100 else m))
                    for m in moments
                ]
                for s in seeds
            ],
            c.env,
            f"{c.agent} on {c.env}{manner}",
            max_episode_steps=c.max_episode_steps,
            episodes=episodes,
            first=first,
            greedy=greedy,
            seconds=seconds,
        )

    def _state(self, device: str) -> TrainState:
        """The last checkpoint."""
        return load_state(self._folder, Networks(self._network()), device)

    def _moment(self, percent: int) -> str:
        """A moment of training in a word or two."""
        last = "trained" if self.summary is not None else "as far as trained"
        return {0: "untrained", 100: last}.get(percent, f"{percent} %")

    def _device(self) -> str:
        return device_here(self.config)

    def _network(self) -> Network:
        hidden = self.config.hyperparameters["hidden"]
        return make_policy(self.config.policy_kind, describe_env(self.config), hidden)

    def plot(self, ax: Axes | None = None) -> Axes:
        """The learning curve over seeds with its 95% band."""
        from pgzoo.records.plots import learning_curve
        from pgzoo.records.style import LOOKS

        if not (ax is None or hasattr(ax, "add_collection")):
            raise UsageError(f"Expected `ax` to be axes of Matplotlib, got {shown(ax)}.")
        c, complete = self.config, self.summary is not None
        title = f"{c.agent} on {c.env}, {len(c.seeds)} seeds"
        mine = LOOKS[place_in_zoo(c.agent) % len(LOOKS)]
        return learning_curve(self.metrics, title, complete=complete, look=mine, ax=ax)

    def resume(
        self,
        agent: AgentName | None = None,
        *,
        progress: bool | Manner = True,
        callback: Callable[[Report], Any] | None = None,
    ) -> Self:
        """Go on with an interrupted run; it ends as if nothing had happened.

        Args:
            agent: the function, or its ``FILE.py:FUNCTION``, if the run is of one; a run's folder
                never causes it to be run.
            progress: as for ``train``.
            callback: as for ``train``.

        Raises:
            UsageError: if the agent is another one, or the run cannot go on.
            TrainingInterrupted: on Ctrl-C, after saving.
        """
        config = self.config
        if agent is None and config.agent not in AGENTS:
            raise UsageError(
                f"Expected the function that {config.agent} names: this run is of an estimator of "
                "somebody's own. Give it to `resume`."
            )
        kind = agent_of(config, config.agent if agent is None else agent)
        made = build(kind, config.hyperparameters)
        refers = made.penalty is not None and made.penalty.reference is not None
        if refers and not self._folder.has_checkpoint:
            raise UsageError(
                f"Expected {self.path} to hold the policies of its `reference`, but it has no "
                "checkpoint yet, and where a run's folder says that they are is not looked up. "
                "Start the run anew."
            )
        self.go_on(Trainer(config, made, self._device()), progress, callback)
        return self

    def go_on(
        self,
        trainer: Trainer,
        progress: bool | Manner,
        callback: Callable[[Report], Any] | None,
        tensorboard_seeds: bool = False,
    ) -> None:
        """Train from where the folder stands."""
        _check_callback(callback)

        def report(report: Report) -> Any:
            shown(report)
            return None if callback is None else _called(callback, report)

        how = f"pgzoo.load({str(self.path)!r}).resume({self._agent_as_argument()})"
        raised: BaseException | None = None
        try:
            with display(progress) as shown:
                run_training(trainer, self._folder, report, tensorboard_seeds=tensorboard_seeds)
        except TrainingInterrupted as error:
            raise TrainingInterrupted(f"{error} Go on with {how}.") from None
        except TrainingStoppedError as error:
            advice = f"{MENDED} {how}" if self.config.estimator_sha256 else f"Go on with {how}."
            raise TrainingStoppedError(error.what, advice) from error.__cause__
        except CallbackError as failed:
            raised = failed.__cause__
        if raised is not None:  # the user's own, as it was
            raised.add_note(f"The run is saved in {self.path}. Go on with {how}.")
            raise raised

    def _agent_as_argument(self) -> str:
        """What ``resume`` has to be told, as it is written."""
        name = self.config.agent
        return "" if name in AGENTS else repr(name) if is_file_and_function(name) else name

    def __repr__(self) -> str:
        c = self.config
        state = "complete" if self.summary is not None else "not complete"
        return f"Run({c.agent!r}, {c.env!r}, {len(c.seeds)} seeds, {state}, {str(self.path)!r})"

    def _repr_html_(self) -> str:
        import pandas as pd

        c, summary = self.config, self.summary
        head = f"<b>{escape(c.agent)}</b> on <b>{escape(c.env)}</b>, {escape(c.policy_kind)} policy"
        if summary is None:
            return f"<p>{head}: training is not complete. <code>{escape(str(self.path))}</code></p>"
        table = pd.DataFrame(
            {
                "return": summary["eval_mean"],
                "± std of episodes": summary["eval_std"],
                "solved": summary["solved"],
                "steps to threshold": _grouped(summary["steps_to_threshold"]),
                "steps": _grouped(summary["env_steps_per_seed"]),
            },
            index=pd.Index(summary["seeds"], name="seed"),
        )
        words = "<br>".join(escape(line) for line in in_words(summary))
        shown = table.to_html(float_format="{:.1f}".format, na_rep="–")
        return f"<p>{head}<br>{words}<br><code>{escape(str(self.path))}</code></p>{shown}"


def _check_callback(callback: Any) -> None:
    if not (callback is None or callable(callback)):
        raise UsageError(
            f"Expected `callback` to be a function that is called with a report, got "
            f"{shown(callback)}."
        )


def _called(callback: Callable[[Report], Any], report: Report) -> Any:
    """What a user's callback says; it leaves the process as it was.

    Raises:
        CallbackError: for whatever it raises, which is nothing of ours.
    """
    try:
        with restored():
            return callback(report)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise CallbackError from error


def _grouped(numbers: Iterable[int | None]) -> list[str]:
    """Whole numbers to be read."""
    return ["–" if n is None else f"{n:,}" for n in numbers]
