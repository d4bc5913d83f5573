"""Complete episodes and groups; what segments have in common with them. See test_segments."""

import dataclasses
from functools import partial

import numpy as np
import pgzoo_envs
import pytest
import torch

from pgzoo.policies.networks import MLP
from pgzoo.sampling.collect import Collector, sample_actions
from pgzoo.sampling.plan import Episodes, Groups, Segments
from pgzoo.sampling.seeding import Purpose, Streams, generators, start_seeds
from pgzoo.sampling.trajectories import finished_episodes

FIELDS = ("obs", "next_obs", "action", "reward", "terminated", "truncated", "mask", "log_prob")


def policy_for(env_id, seeds, hidden=16):
    info = pgzoo_envs.describe(env_id)
    network = MLP((info.observation_space.shape[0], hidden, info.num_actions))
    theta = network.init(generators(seeds, Purpose.POLICY_INIT))
    return network, theta


def episodes(env_id, seeds, rows, iteration=0, plan=None, running=None):
    network, theta = policy_for(env_id, seeds)
    acting = theta if running is None else theta[running]
    collector = Collector(partial(pgzoo_envs.make, env_id))
    trajectories, finished, ongoing = collector.collect(
        plan or Episodes(episodes=rows),
        network.bind(acting),
        Streams(seeds, iteration),
        running=running,
    )
    collector.close()
    assert ongoing is None
    assert finished == finished_episodes(trajectories)
    return network, theta, trajectories


def test_sample_actions_follow_the_distribution():
    logits = torch.tensor([0.0, 1.0, -1.0])
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    action, log_prob = sample_actions(logits.expand(10_000, 3), uniform)
    frequency = torch.bincount(action, minlength=3) / 10_000
    torch.testing.assert_close(frequency, logits.softmax(0), atol=2e-4, rtol=0)
    torch.testing.assert_close(log_prob, logits.log_softmax(0)[action])
    edge, _ = sample_actions(torch.zeros(2, 3), torch.tensor([0.0, 1.0]))
    assert edge.tolist() == [0, 2]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "LunarLander-v3"])
def test_episodes_are_complete_and_consistent(env_id):
    network, theta, batch = episodes(env_id, [0, 1], 6)
    mask, done = batch.mask, batch.terminated | batch.truncated
    assert mask[..., 0].all()
    assert (mask[..., 1:] <= mask[..., :-1]).all(), "real steps come first"
    assert ((done & mask).sum(-1) == 1).all(), "every row ends once"
    last = mask.sum(-1, keepdim=True) - 1
    assert done.gather(-1, last).all()
    inner = mask[..., 1:]
    assert torch.equal(batch.obs[:, :, 1:][inner], batch.next_obs[:, :, :-1][inner])
    log_probs = network.apply(theta, batch.obs).log_softmax(-1)
    expected = log_probs.gather(-1, batch.action[..., None])[..., 0]
    torch.testing.assert_close(batch.log_prob[mask], expected[mask], rtol=1e-4, atol=1e-5)


def test_a_collected_episode_replays_in_gymnasium():
    import gymnasium as gym

    _, _, batch = episodes("LunarLander-v3", [5], 2)
    seeds = start_seeds([5], 2, 0)
    env = gym.make("LunarLander-v3")
    for row in range(2):
        obs, _ = env.reset(seed=int(seeds[0, row]))
        for t in range(int(batch.mask[0, row].sum())):
            np.testing.assert_array_equal(batch.obs[0, row, t], obs)
            obs, reward, terminated, truncated, _ = env.step(int(batch.action[0, row, t]))
            np.testing.assert_array_equal(batch.next_obs[0, row, t], obs)
            assert batch.reward[0, row, t].item() == pytest.approx(reward, rel=1e-6)
            assert batch.terminated[0, row, t].item() == terminated
            assert batch.truncated[0, row, t].item() == truncated


def test_a_replicas_episodes_do_not_depend_on_its_company():
    *_, alone = episodes("CartPole-v1", [3], 8)
    *_, among = episodes("CartPole-v1", [0, 1, 2, 3, 4], 8)
    steps = min(alone.mask.shape[-1], among.mask.shape[-1])
    for name in FIELDS:
        mine, theirs = getattr(alone, name)[0, :, :steps], getattr(among, name)[3, :, :steps]
        real = alone.mask[0, :, :steps]
        torch.testing.assert_close(mine[real], theirs[real], rtol=1e-4, atol=1e-5)


def test_groups_share_their_start_and_nothing_else():
    *_, batch = episodes("CartPole-v1", [0], 8, plan=Groups(episodes=8, group_size=4))
    starts = batch.obs[0, :, 0].view(2, 4, -1)
    assert (starts == starts[:, :1]).all()
    assert (starts[0] != starts[1]).any()
    assert len({int(n) for n in batch.mask[0, :4].sum(-1)}) > 1, "actions differ within a group"


def test_members_of_a_group_can_have_starts_of_their_own():
    """Those of as many single episodes, and the same actions: only the grouping differs."""
    plan = Groups(episodes=8, group_size=4, starts="independent")
    *_, grouped = episodes("CartPole-v1", [0, 1], 8, plan=plan)
    *_, single = episodes("CartPole-v1", [0, 1], 8)
    assert (grouped.group_size, single.group_size) == (4, 1)
    assert len(grouped.obs[:, :, 0].flatten(0, 1).unique(dim=0)) == 16
    for name in FIELDS:
        assert torch.equal(getattr(grouped, name), getattr(single, name))


def test_only_running_replicas_have_episodes():
    """What they get is what they get when everybody runs."""
    running = np.array([True, False, True])
    *_, some = episodes("CartPole-v1", [0, 1, 2], 4, iteration=3, running=running)
    *_, everyone = episodes("CartPole-v1", [0, 1, 2], 4, iteration=3)
    steps = some.mask.shape[-1]
    real = some.mask
    for name in FIELDS:
        mine, theirs = getattr(some, name), getattr(everyone, name)[running][:, :, :steps]
        torch.testing.assert_close(mine[real], theirs[real], rtol=1e-4, atol=1e-5)


def test_finished_episodes_count_returns_and_lengths():
    *_, batch = episodes("CartPole-v1", [0, 1], 4)
    for s, finished in enumerate(finished_episodes(batch)):
        assert finished.lengths == batch.mask[s].sum(-1).tolist()
        assert finished.returns == finished.lengths  # CartPole pays 1 a step


def count_steps(envs):
    """From now on; of a SequentialVectorEnv."""
    taken = [0] * envs.num_envs
    for i, env in enumerate(envs.envs):

        def counted(action, i=i, original=env.step):
            taken[i] += 1
            return original(action)

        env.step = counted
    return taken


def test_resting_rows_cost_no_environment_steps():
    network, theta = policy_for("LunarLander-v3", [0])
    envs = pgzoo_envs.make("LunarLander-v3", 4, processes=1)
    taken = count_steps(envs)
    batch, *_ = Collector(lambda _: envs).collect(
        Episodes(episodes=4), network.bind(theta), Streams([0])
    )
    assert sum(taken) == int(batch.num_steps.sum()) < batch.mask.numel()


def segments(seeds, rows, steps, calls, limit=None):
    network, theta = policy_for("CartPole-v1", seeds)
    collector = Collector(partial(pgzoo_envs.make, "CartPole-v1", max_episode_steps=limit))
    plan, ongoing, results = Segments(envs=rows, segment_steps=steps), None, []
    for i in range(calls):
        trajectories, finished, ongoing = collector.collect(
            plan, network.bind(theta), Streams(seeds, i), ongoing
        )
        results.append((trajectories, finished))
    return results


def test_segments_continue_where_the_last_one_ended():
    (first, _), (second, _) = segments([0, 1], 4, 32, 2)
    assert torch.equal(first.next_obs[:, :, -1], second.obs[:, :, 0])
    assert first.mask.shape == (2, 4, 32)


def test_resets_inside_segments_are_masked_out():
    for batch, _ in segments([0, 1], 4, 64, 3):
        done = (batch.terminated | batch.truncated) & batch.mask
        assert done.any()
        assert torch.equal(~batch.mask[:, :, 1:], done[:, :, :-1])
        after = ~batch.mask[:, :, 1:]
        assert (batch.next_obs[:, :, 1:][after].abs() <= 0.05).all(), "the reset leads to a start"
        assert not batch.reward[~batch.mask].any()


def test_the_observation_at_a_done_is_the_true_final_one():
    (batch, _), *_ = segments([0], 8, 200, 1)
    final = batch.next_obs[batch.terminated]
    assert ((final[:, 0].abs() > 2.4) | (final[:, 2].abs() > 12 * np.pi / 180)).all()


def test_observations_are_those_before_and_after_every_step():
    """Resets included; what lies where the mask is false is not looked at."""
    for batch, _ in segments([0, 1], 4, 64, 3):
        mask = batch.mask.unsqueeze(-1)
        spoiled = dataclasses.replace(
            batch,
            obs=torch.where(mask, batch.obs, torch.nan),
            next_obs=torch.where(mask, batch.next_obs, torch.nan),
        )
        obs, exists = spoiled.observations()
        assert torch.equal(obs[:, :, :-1][batch.mask], batch.obs[batch.mask])
        assert torch.equal(obs[:, :, 1:][batch.mask], batch.next_obs[batch.mask])
        assert obs[exists].isfinite().all()


def test_episodes_of_segments_are_counted_across_their_borders():
    results = segments([0], 3, 17, 20, limit=40)
    returns = [r for _, (e,) in results for r in e.returns]
    lengths = [n for _, (e,) in results for n in e.lengths]
    real = sum(int(batch.mask.sum()) for batch, _ in results)
    assert returns == lengths
    assert max(lengths) <= 40
    assert real - 3 * 40 <= sum(lengths) <= real
