import dataclasses
import math
import re
import time

import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from pgzoo.errors import UsageError
from pgzoo.records.tensorboard import (
    DESCRIPTIONS,
    HIGH,
    LOW,
    NOISE_SCALE,
    OF_EQUAL_STEPS,
    RELATIVE,
    RETURN,
    SOLVED,
    SOON,
    SUCCESS,
    TOP,
    TRAINED,
    Dashboard,
    Results,
    write_dashboard,
)
from tests.records.examples import SUMMARY, config


def board_of(path, seeds, lines=(), threshold=None, each=False, **options):
    settings = {"steps": 1000, "episodes": 16} | options
    c = config(seeds=tuple(seeds), hyperparameters=settings)
    return Dashboard(path, c, lines, threshold=threshold, seeds=each)


def events_of(path):
    """What TensorBoard reads by."""
    events = EventAccumulator(str(path))
    events.Reload()
    return events


def tensors(path, plugin):
    events = events_of(path)
    about = {tag: events.SummaryMetadata(tag) for tag in events.Tags()["tensors"]}
    return {t: events.Tensors(t) for t, m in about.items() if m.plugin_data.plugin_name == plugin}


def scalars(path):
    return {
        tag: [(e.step, round(make_ndarray(e.tensor_proto).item(), 4)) for e in found]
        for tag, found in tensors(path, "scalars").items()
    }


def row(seed, env_steps, value, iteration=0):
    return {"iteration": iteration, "seed": seed, "env_steps": env_steps, "return_last_100": value}


def test_one_curve_for_all_seeds_with_its_band(tmp_path):
    board = board_of(tmp_path, (1, 2, 3, 4, 5), threshold=3.0)
    returns = {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 15.0}
    board.add([row(seed, 10 * seed, value) for seed, value in returns.items()])
    board.add([row(1, 20, 4.0)])  # the others have finished
    board.close()
    assert scalars(tmp_path) == {
        RETURN: [(30, 3.0), (32, 3.6667)],
        LOW: [(30, 1.0), (32, 2.0)],
        HIGH: [(30, 15.0), (32, 15.0)],
        SUCCESS: [(30, 0.6), (32, 0.8)],
    }
    assert not list(tmp_path.glob("seed-*"))


def test_seeds_have_runs_of_their_own_on_demand(tmp_path):
    board = board_of(tmp_path, (1, 2), each=True)
    board.add(
        [
            row(1, 10, 1.0) | {"entropy": 0.5} | {"psi_q05": 1.0, "gradient_blocks": 1.0},
            row(2, 20, 2.0),
        ]
    )
    board.close()
    assert scalars(tmp_path / "seed-1") == {RETURN: [(10, 1.0)], "why/entropy": [(10, 0.5)]}
    assert scalars(tmp_path / "seed-2") == {RETURN: [(20, 2.0)]}


def test_few_seeds_have_no_interval_and_no_threshold_no_success(tmp_path):
    board = board_of(tmp_path, (1, 2))
    board.add([row(1, 10, 1.0), row(2, 20, 2.0)])
    board.close()
    assert set(scalars(tmp_path)) == {RETURN}


def test_resuming_drops_what_came_after_the_checkpoint(tmp_path):
    board = board_of(tmp_path, (1,), each=True)
    for steps in (10, 20, 30):
        board.add([row(1, steps, float(steps))])
    board.close()
    time.sleep(1.1)  # event files are read in the order of the second they were opened in
    board = board_of(tmp_path, (1,), [row(1, 10, 10.0), row(1, 20, 20.0)], each=True)
    board.add([row(1, 31, 0.5)])
    board.close()
    expected = {RETURN: [(10, 10.0), (20, 20.0), (31, 0.5)]}
    assert scalars(tmp_path) == scalars(tmp_path / "seed-1") == expected
    assert len(tensors(tmp_path, "text")["settings"]) == 1


def diagnosed(seed, step, variance, signal, blocks=2.0):
    figures = {"gradient_variance": variance, "gradient_signal": signal, "gradient_blocks": blocks}
    figures |= {"psi_q05": -1.0, "weight_q95": 2.0}
    compared = {"gradient_variance_of_grpo": 0.7, "gradient_signal_of_grpo": -1.0}
    return row(seed, step, 1.0) | figures | compared


def test_relative_variances_are_pooled(tmp_path):
    board = board_of(tmp_path, (1, 2))
    board.add([diagnosed(1, 500, 1.0, -0.5)])  # two blocks are too few for a figure
    board.add([diagnosed(2, 2000, 3.0, 2.5)])
    board.close()
    found = scalars(tmp_path)
    assert found[RELATIVE] == [(1250, 2.0)]  # (1 + 3) / (2.5 - 0.5)
    assert found[OF_EQUAL_STEPS] == [(1250, 3.25)]  # (1 × 500 + 3 × 2000) / 1000 / 2
    assert found[NOISE_SCALE] == [(1250, 32.0)]
    assert set(found) == {
        RETURN,
        RELATIVE,
        OF_EQUAL_STEPS,
        NOISE_SCALE,
        "why/psi_quantile_05",
        "why/effective_weight_quantile_95",
    }


def test_what_noise_hides_runs_along_the_top_edge_in_a_run_of_the_estimators_own(tmp_path):
    board = board_of(tmp_path, (1, 2))
    board.add([diagnosed(1, 10, 1.0, 0.001), diagnosed(2, 10, 1.0, 0.001)])
    board.close()
    assert scalars(tmp_path)[RELATIVE] == [(10, TOP)]  # a thousand
    assert scalars(tmp_path / "grpo") == {RELATIVE: [(10, TOP)], OF_EQUAL_STEPS: [(10, TOP)]}


def test_figures_of_minibatches_are_of_as_many_steps_as_those_have(tmp_path):
    board = board_of(tmp_path, (1,), minibatches=4)
    board.add([diagnosed(1, 4000, 3.0, 1.5, blocks=8.0)])
    board.close()
    found = scalars(tmp_path)
    assert found[RELATIVE] == found[OF_EQUAL_STEPS] == [(4000, 2.0)]
    assert found[NOISE_SCALE] == [(4000, 8.0)]  # two minibatches of four trajectories


def test_pooling_goes_on_where_an_earlier_session_ended(tmp_path):
    board = board_of(tmp_path, (1, 2), [diagnosed(1, 10, 1.0, -0.5)])
    board.add([diagnosed(2, 10, 3.0, 2.5)])
    board.close()
    assert scalars(tmp_path)[RELATIVE] == [(10, 2.0)]


def test_diagnoses_of_single_seeds_are_pooled_over_the_latest(tmp_path):
    board = board_of(tmp_path, (1, 2))
    for i in range(30):  # seed by seed; twenty of two blocks make forty
        board.add([diagnosed(1 + i % 2, 10 * (1 + i), 1.0 if i < 10 else 2.0, 1.0)])
    board.close()
    figures = [value for _, value in scalars(tmp_path)[RELATIVE]]
    assert figures[0] == 1.0
    assert figures[-2] == 1.95  # 19 of the latest twenty
    assert figures[-1] == 2.0


def png_of(width, height):
    return b"\x89PNG\r\n\x1a\n" + b"\0" * 8 + width.to_bytes(4, "big") + height.to_bytes(4, "big")


def test_a_whole_dashboard_from_results_that_are_there(tmp_path):
    c = config(hyperparameters={"steps": 1000, "episodes": 16, "hidden": (8, 8), "none": None})
    lines = [row(3, 500, 450.0), row(5, 500, 1.0), row(3, 1000, 480.0, 1) | {"entropy": math.nan}]
    write_dashboard(tmp_path, c, lines, Results.of(SUMMARY), {"curve": png_of(4, 3)})
    found = scalars(tmp_path)
    assert found[RETURN] == [(500, 225.5), (750, 240.5)]
    assert found[TRAINED] == [(1005, 480.5)]
    assert found[SOLVED] == [(1005, 0.5)]
    assert found[SOON] == [(1005, 900.0)]
    assert "why/entropy" not in found
    (image,) = tensors(tmp_path, "images")["with figures/curve"]
    assert image.tensor_proto.string_val[:2] == [b"4", b"3"]
    said = {t: make_ndarray(e[0].tensor_proto)[()] for t, e in tensors(tmp_path, "text").items()}
    assert "solved (mean ≥ 475): 1 of 2 seeds" in said["results"].decode()
    assert "**rloo** on CartPole-v1, mlp policy, 2 seeds (3, 5)" in said["settings"].decode()
    assert "hidden=8,8, none=none" in said["settings"].decode()


def test_every_curve_is_described_in_one_sentence_and_there_are_25_at_most():
    assert len(DESCRIPTIONS) <= 25
    for tag, text in DESCRIPTIONS.items():
        assert re.fullmatch(r"(Learning|gradient|why)/\w+", tag)
        assert text.endswith(".")
        assert ". " not in text


def test_damaged_event_files_do_no_harm(tmp_path):
    for place in ("", "seed-1"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "events.out.tfevents.1.host.1.0").write_bytes(b"damaged" * 100)
    board = board_of(tmp_path, (1,), [row(1, 10, 1.0)], each=True)
    board.add([row(1, 20, 2.0)])
    board.close()


def test_runs_beneath_are_in_folders_of_the_runs_own(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "grpo").symlink_to(tmp_path / "elsewhere")
    board = board_of(tmp_path / "run", (1,))
    with pytest.raises(UsageError, match="got a symbolic link"):
        board.add([diagnosed(1, 10, 1.0, 1.0)])
    board.close()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_results_without_a_threshold():
    results = dataclasses.replace(Results.of(SUMMARY), threshold=None)
    assert results.figures() == {TRAINED: 480.5}
