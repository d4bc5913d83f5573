import time

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pgzoo.records.tensorboard import Dashboard


def board_of(path, steps, lines=()):
    return Dashboard(path, steps, lines, unit="trajectory", rows=16)


def scalars(path):
    events = EventAccumulator(str(path))
    events.Reload()
    tags = events.Tags()["scalars"]
    return {t: [(e.step, round(e.value, 4)) for e in events.Scalars(t)] for t in tags}


def row(seed, env_steps, value):
    return {"iteration": 0, "seed": seed, "env_steps": env_steps, "return_mean": value}


def test_means_their_interval_and_seeds(tmp_path):
    board = board_of(tmp_path, dict.fromkeys((1, 2, 3, 4, 5), 0))
    returns = {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 15.0}
    board.add([row(seed, 10 * seed, value) for seed, value in returns.items()], 30)
    board.add([row(1, 20, 4.0)], 32)  # the others have finished
    board.close()
    assert scalars(tmp_path) == {
        "return/mean": [(30, 5.0), (32, 5.6)],
        "return/interquartile_mean": [(30, 3.0), (32, 3.6667)],
        "return/ci_low": [(30, 1.0), (32, 2.0)],
        "return/ci_high": [(30, 15.0), (32, 15.0)],
    }
    assert scalars(tmp_path / "seed-1") == {"return/mean_each_seed": [(10, 1.0), (20, 4.0)]}


def test_few_seeds_have_no_interval(tmp_path):
    board = board_of(tmp_path, {1: 0, 2: 0})
    board.add([row(1, 10, 1.0), row(2, 20, 2.0)], 15)
    board.close()
    assert set(scalars(tmp_path)) == {"return/mean", "return/interquartile_mean"}


def test_resuming_drops_what_came_after_the_checkpoint(tmp_path):
    board = board_of(tmp_path, {1: 0})
    for steps in (10, 20, 30):
        board.add([row(1, steps, float(steps))], steps)
    board.close()
    time.sleep(1.1)  # event files are read in the order of the second they were opened in
    board = board_of(tmp_path, {1: 20}, [row(1, 20, 20.0)])
    board.add([row(1, 31, 0.5)], 31)
    board.close()
    expected = [(10, 10.0), (20, 20.0), (31, 0.5)]
    assert scalars(tmp_path) == {"return/mean": expected, "return/interquartile_mean": expected}
    assert scalars(tmp_path / "seed-1") == {"return/mean_each_seed": expected}


def diagnosed(seed, step, variance, signal):
    figures = {"gradient_variance": variance, "gradient_signal": signal, "gradient_blocks": 2.0}
    figures |= {"psi_q05": -1.0, "weight_q95": 2.0}
    compared = {"gradient_variance_of_grpo": 0.7, "gradient_signal_of_grpo": -1.0}
    return row(seed, step, 1.0) | figures | compared


def test_relative_variances_are_pooled_and_infinite_where_noise_hides_the_signal(tmp_path):
    board = board_of(tmp_path, {1: 0, 2: 0})
    board.add([diagnosed(1, 10, 1.0, -0.5)], 5)  # two blocks are too few for a figure
    board.add([diagnosed(2, 10, 3.0, 2.5)], 10)
    board.close()
    found = scalars(tmp_path)
    assert found["gradient/relative_variance"] == [(10, 2.0)]  # (1 + 3) / (2.5 - 0.5)
    assert found["gradient/noise_scale"] == [(10, 32.0)]
    assert found["relative_variance/grpo"] == [(10, float("inf"))]
    assert set(found) == {
        "return/mean",
        "return/interquartile_mean",
        "gradient/relative_variance",
        "gradient/noise_scale",
        "gradient/variance",
        "psi/quantile_05",
        "effective_weight/quantile_95",
        "relative_variance/grpo",
    }


def test_pooling_goes_on_where_an_earlier_session_ended(tmp_path):
    board = board_of(tmp_path, {1: 10, 2: 0}, [diagnosed(1, 10, 1.0, -0.5)])
    board.add([diagnosed(2, 10, 3.0, 2.5)], 10)
    board.close()
    assert scalars(tmp_path)["gradient/relative_variance"] == [(10, 2.0)]
