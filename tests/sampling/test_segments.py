"""Segments: rows that run on, rest, and are brought back by taking their actions again."""

from functools import partial

import gymnasium as gym
import numpy as np
import pgzoo_envs
import pytest
import torch
from safetensors.torch import load, save

from pgzoo.errors import UsageError
from pgzoo.policies.networks import MLP
from pgzoo.sampling.collect import Collector, sample_actions
from pgzoo.sampling.ongoing import Ongoing
from pgzoo.sampling.plan import Episodes, Segments
from pgzoo.sampling.seeding import EpisodeSeeds, Purpose, Streams, generator, generators
from tests.sampling.test_collect import FIELDS, count_steps

BACKENDS = [
    ("CartPole-v1", 500, 1),
    ("Acrobot-v1", 12, 1),
    ("MountainCar-v0", 12, 1),
    ("FrozenLake-v1", 100, 1),
    ("FrozenLake-v1", 100, 2),
    ("LunarLander-v3", 18, 1),
    ("LunarLander-v3", 18, 2),
]


def make_collector(env_id="CartPole-v1", limit=None, processes=1):
    return Collector(partial(pgzoo_envs.make, env_id, max_episode_steps=limit, processes=processes))


def simple_policy(env_id, seeds):
    """Logits without sums, so that they are the same to the bit in any company."""
    num_actions = pgzoo_envs.describe(env_id).num_actions
    draws = [generator(s, Purpose.POLICY_INIT).normal(size=num_actions) for s in seeds]
    weights = torch.tensor(np.stack(draws)).float().unsqueeze(1)

    def policy(obs):
        return (obs.flatten(2)[..., :1] if obs.ndim > 2 else obs.unsqueeze(-1)) * weights

    return policy


def run(collector, plan, policy_of, schedule, seeds, ongoing=None, first=0):
    """Call after call; ``schedule`` says who runs in each."""
    results = []
    for i, running in enumerate(schedule):
        running = np.array(running)
        chosen = [s for s, r in zip(seeds, running, strict=True) if r]
        trajectories, finished, ongoing = collector.collect(
            plan, policy_of(chosen), Streams(seeds, first + i), ongoing, running
        )
        results.append((trajectories, finished, ongoing))
    return results


def assert_same_bits(got, want):
    for (mine, finished, now), (theirs, expected, then) in zip(got, want, strict=True):
        for name in FIELDS:
            assert torch.equal(getattr(mine, name), getattr(theirs, name)), name
        assert finished == expected
        for name, tensor in now.tensors().items():
            assert torch.equal(tensor, then.tensors()[name]), name


def single_row(env, seed, row, plan, calls, policy):
    """What a row of segments holds, by the plainest of loops: a dictionary for every step."""
    seeds, episode, done = EpisodeSeeds(Streams([seed]), plan.num_rows), 0, False

    def start():
        return env.reset(seed=int(seeds.at(np.array([row]), np.array([episode]))[0]))[0]

    obs = start()
    for call in range(calls):
        shape = (plan.segment_steps, plan.num_rows)
        noise = generator(seed, Purpose.ACTIONS, call).random(shape, np.float32)
        for uniform in noise[:, row]:
            logits = policy(torch.as_tensor(np.array(obs))[None, None])
            action = int(sample_actions(logits, torch.tensor([[uniform]]))[0])
            step = {"obs": obs, "action": action, "mask": not done}
            if done:
                episode += 1
                result = start(), 0.0, False, False
            else:
                result = env.step(action)[:4]
            obs, reward, terminated, truncated = result
            done = terminated or truncated
            step |= {"next_obs": obs, "reward": np.float32(reward)}
            yield step | {"terminated": terminated, "truncated": truncated}


@pytest.mark.parametrize(("env_id", "limit", "processes"), BACKENDS)
def test_segments_are_those_of_single_environments(env_id, limit, processes):
    seeds, plan, calls = [5, 8], Segments(envs=3, segment_steps=20), 4
    collector = make_collector(env_id, limit, processes)
    got = run(collector, plan, partial(simple_policy, env_id), [[True, True]] * calls, seeds)
    collector.close()
    resets = 0
    for s, seed in enumerate(seeds):
        for row in range(plan.num_rows):
            env = gym.make(env_id, max_episode_steps=limit, disable_env_checker=True)
            policy = simple_policy(env_id, [seed])
            steps = list(single_row(env, seed, row, plan, calls, policy))
            resets += sum(not step["mask"] for step in steps)
            for i, (trajectories, _, _) in enumerate(got):
                mine = steps[i * plan.segment_steps : (i + 1) * plan.segment_steps]
                for name in steps[0]:
                    expected = np.stack([step[name] for step in mine])
                    np.testing.assert_array_equal(getattr(trajectories, name)[s, row], expected)
    assert resets >= 6


def mlp(env_id, seeds):
    info = pgzoo_envs.describe(env_id)
    network = MLP((info.observation_space.shape[0], 16, info.num_actions))
    return network.bind(network.init(generators(seeds, Purpose.POLICY_INIT)))


@pytest.mark.parametrize(
    ("env_id", "limit", "processes", "policy"),
    [(*backend, simple_policy) for backend in BACKENDS] + [("CartPole-v1", 30, 1, mlp)],
)
def test_resuming_gives_the_same_bits(env_id, limit, processes, policy):
    """From after any call, in mid-episode and between two, through a file's tensors."""
    seeds, plan, calls = [5, 8], Segments(envs=4, segment_steps=6), 8
    policy_of = partial(policy, env_id)
    collector = make_collector(env_id, limit, processes)
    full = run(collector, plan, policy_of, [[True, True]] * calls, seeds)
    assert any(now.ended.any() for *_, now in full)
    assert any((now.length > plan.segment_steps).any() for *_, now in full) or "Frozen" in env_id
    for i in range(1, calls):
        ongoing = Ongoing.from_tensors(load(save(full[i - 1][2].tensors())))
        resumed = collector if processes > 1 else make_collector(env_id, limit)
        rest = [[True, True]] * (calls - i)
        assert_same_bits(run(resumed, plan, policy_of, rest, seeds, ongoing, i), full[i:])
    collector.close()


def test_a_batch_is_a_function_of_what_it_is_given():
    """Neither earlier calls count, nor other plans in between, nor an interruption."""
    seeds, plan = [1, 2], Segments(envs=4, segment_steps=25)
    collector, policy_of = make_collector(), partial(simple_policy, "CartPole-v1")
    full = run(collector, plan, policy_of, [[True, True]] * 4, seeds)
    policy = policy_of(seeds)
    for i in (2, 1, 3, 3):
        again = collector.collect(plan, policy, Streams(seeds, i), full[i - 1][2])
        assert_same_bits([again], [full[i]])
    collector.collect(Episodes(episodes=4), policy, Streams(seeds))
    assert_same_bits([collector.collect(plan, policy, Streams(seeds, 2), full[1][2])], [full[2]])

    calls = []

    def interrupted(obs):
        calls.append(None)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return policy(obs)

    with pytest.raises(KeyboardInterrupt):
        collector.collect(plan, interrupted, Streams(seeds, 3), full[2][2])
    assert_same_bits([collector.collect(plan, policy, Streams(seeds, 3), full[2][2])], [full[3]])


@pytest.mark.parametrize(
    ("env_id", "limit", "processes"), [("CartPole-v1", 40, 1), ("LunarLander-v3", 17, 2)]
)
def test_segments_of_a_replica_do_not_depend_on_its_company(env_id, limit, processes):
    """Replicas finish at different times, and one takes a pause."""
    seeds, plan = [3, 4, 5], Segments(envs=3, segment_steps=10)
    schedule = [[1, 1, 1], [1, 1, 1], [1, 0, 1], [1, 0, 1], [0, 0, 1], [0, 1, 1], [0, 0, 1]]
    schedule = np.array(schedule, dtype=bool)
    policy_of = partial(simple_policy, env_id)
    collector = make_collector(env_id, limit, processes)
    among = run(collector, plan, policy_of, schedule, seeds)
    collector.close()
    for s, seed in enumerate(seeds):
        alone, ongoing = make_collector(env_id, limit, processes), None
        for i in np.flatnonzero(schedule[:, s]):
            mine, finished, ongoing = alone.collect(
                plan, policy_of([seed]), Streams([seed], int(i)), ongoing
            )
            place = int(schedule[i, :s].sum())
            theirs, their_finished, now = among[i]
            for name in FIELDS:
                value, expected = getattr(theirs, name)[place], getattr(mine, name)[0]
                torch.testing.assert_close(
                    value, expected, rtol=1e-6 if name == "log_prob" else 0, atol=0
                )
            assert their_finished[place] == finished[0]
            assert theirs.mask.shape[0] == schedule[i].sum()
            for name in ("episode", "length", "returns", "ended"):
                assert (getattr(now, name)[s] == getattr(ongoing, name)[0]).all()
        alone.close()


def test_replicas_that_do_not_run_cost_no_environment_steps():
    envs = pgzoo_envs.make("FrozenLake-v1", 6, processes=1)
    taken = count_steps(envs)
    plan, seeds = Segments(envs=2, segment_steps=30), [0, 1, 2]
    policy_of = partial(simple_policy, "FrozenLake-v1")
    schedule = [[True, True, True], [True, False, True]]
    first, second = run(Collector(lambda _: envs), plan, policy_of, schedule, seeds)
    own = (first[0].mask.sum(2) + torch.zeros(3, 2)).long()
    own[[0, 2]] += second[0].mask.sum(2)
    assert taken == own.flatten().tolist()


def test_episodes_are_as_long_as_they_are():
    """However short the segments: MountainCar's 200 steps in segments of 8."""
    plan, seeds = Segments(envs=2, segment_steps=8), [0, 1]
    policy_of = partial(simple_policy, "MountainCar-v0")
    results = run(make_collector("MountainCar-v0"), plan, policy_of, [[True, True]] * 60, seeds)
    lengths = [n for _, finished, _ in results for e in finished for n in e.lengths]
    returns = [r for _, finished, _ in results for e in finished for r in e.returns]
    assert lengths == [200] * 8
    assert returns == [-200.0] * 8
    assert max(now.actions.shape[2] for *_, now in results) == 200, "no more than an episode"


def test_actions_are_recorded_in_as_few_bytes_as_they_need():
    policy_of = partial(simple_policy, "CartPole-v1")
    plan = Segments(envs=3, segment_steps=9)
    results = run(make_collector(), plan, policy_of, [[True, True]] * 6, [0, 1])
    for _, _, now in results:
        tensors = now.tensors()
        assert tensors["actions"].dtype == torch.uint8
        assert len(tensors["actions"]) == now.length.sum()


def ongoing_after(calls=3):
    plan, policy_of = Segments(envs=3, segment_steps=9), partial(simple_policy, "CartPole-v1")
    return run(make_collector(), plan, policy_of, [[True, True]] * calls, [0, 1])[-1][2]


@pytest.mark.parametrize("name", ["actions", "returns", "ended"])
def test_a_record_that_the_environments_do_not_repeat_is_refused(name):
    tensors = ongoing_after().tensors()
    changed = {
        "actions": tensors["actions"] * 0,  # falls early
        "returns": tensors["returns"] + 1,
        "ended": tensors["ended"] ^ (tensors["length"] > 0),
    }
    ongoing = Ongoing.from_tensors(tensors | {name: changed[name]})
    policy = simple_policy("CartPole-v1", [0, 1])
    with pytest.raises(UsageError, match="Expected the environment to repeat"):
        make_collector().collect(Segments(envs=3), policy, Streams([0, 1], 3), ongoing)


def test_a_record_of_other_rows_or_actions_is_refused():
    policy, ongoing = simple_policy("CartPole-v1", [0, 1]), ongoing_after()
    with pytest.raises(UsageError, match=r"2 seeds with 4 rows each, got \(2, 3\)"):
        make_collector().collect(Segments(envs=4), policy, Streams([0, 1], 3), ongoing)
    many = {"actions": ongoing.tensors()["actions"] + 2}
    unknown = Ongoing.from_tensors(ongoing.tensors() | many)
    with pytest.raises(UsageError, match="Expected the environment to repeat"):
        make_collector().collect(Segments(envs=3), policy, Streams([0, 1], 3), unknown)


class Unseeded(gym.Env):
    """Draws numbers that its reset does not seed."""

    observation_space, action_space = gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(2)
    rng = np.random.default_rng(0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), float(self.rng.random()), False, False, {}


def test_environments_that_cannot_be_repeated_are_refused():
    gym.register("Unseeded-v0", Unseeded, max_episode_steps=50)
    try:
        policy, plan = simple_policy("Unseeded-v0", [0]), Segments(envs=2)
        *_, ongoing = make_collector("Unseeded-v0").collect(plan, policy, Streams([0]))
        with pytest.raises(UsageError, match="random numbers that its reset does not seed"):
            make_collector("Unseeded-v0").collect(plan, policy, Streams([0], 1), ongoing)
    finally:
        del gym.registry["Unseeded-v0"]


def test_seeds_of_episodes_are_of_replica_purpose_row_and_number_alone():
    def of_all(streams):
        seeds, rows = EpisodeSeeds(streams, 3), np.arange(3 * len(streams.seeds))
        drawn = [seeds.at(rows, np.full(len(rows), k)) for k in range(200)]
        return np.stack(drawn, axis=1).reshape(-1, 3, 200)

    together = of_all(Streams([7, (8, 9)]))
    assert len(np.unique(together)) == together.size
    wider = EpisodeSeeds(Streams([(8, 9)]), 5)
    for n in (2, 0, 1):
        for episode in (150, 3, 64, 63, 199):
            assert wider.at(np.array([n]), np.array([episode])) == together[1, n, episode]
    other = of_all(Streams([7], starts=Purpose.LAB_STARTS))
    assert not np.intersect1d(other, together).size


def test_streams_choose_whose_numbers_are_used():
    """Another purpose gives other starts and other actions; going on under another is refused."""
    plan, policy = Segments(envs=8, segment_steps=40), simple_policy("CartPole-v1", [0])
    collector = make_collector()
    training, _, ongoing = collector.collect(plan, policy, Streams([0]))
    starts, *_ = make_collector().collect(plan, policy, Streams([0], starts=Purpose.LAB_STARTS))
    actions, *_ = make_collector().collect(plan, policy, Streams([0], actions=Purpose.LAB_ACTIONS))
    assert not torch.equal(training.obs[:, :, 0], starts.obs[:, :, 0])
    assert torch.equal(training.obs[:, :, 0], actions.obs[:, :, 0])
    assert not torch.equal(training.action, actions.action)
    with pytest.raises(UsageError, match="Expected the environment to repeat"):
        collector.collect(plan, policy, Streams([1], 1), ongoing)
