"""`pgzoo tensorboard`, started for real and read back as its pages read it."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

import pgzoo
from pgzoo.cli import main
from pgzoo.records.tensorboard import BAND, DESCRIPTIONS, OF_EQUAL_STEPS, RELATIVE, RETURN, SOLVED

SMALL = {"env": "CartPole-v1", "steps": 1500, "hidden": (8,), "progress": False}
SECONDS = 60


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two agents of five seeds; one with other estimators on its batches, one with its seeds."""
    path = tmp_path_factory.mktemp("results") / "runs"
    pgzoo.train("reinforce", **SMALL, seeds=5, out=path / "one", compare_estimators=True)
    options = {"baseline": "batch-mean", "tensorboard_seeds": True}
    pgzoo.train("reinforce-baseline", **SMALL, seeds=2, out=path / "two", **options)
    return path


@contextmanager
def tensorboard(path):
    """Its address, for as long as it runs; Ctrl-C ends it without a word."""
    command = [sys.executable, "-m", "pgzoo", "tensorboard", str(path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, restore_signals=True
    )
    try:
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said += line
        yield re.search(r"http://127\.0\.0\.1:\d+/", said)[0], said
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=SECONDS) == ("", "")
        assert process.returncode == 0
    finally:
        process.kill()


def get(address, place, **about):
    query = urllib.parse.urlencode(about)
    with urllib.request.urlopen(f"{address}data/{place}?{query}", timeout=SECONDS) as answer:
        return json.load(answer)


def post(address, place, about):
    request = urllib.request.Request(f"{address}data/{place}", json.dumps(about).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


def once(condition, ask):
    """The first answer that is as it should be; files are read little by little."""
    end = time.monotonic() + SECONDS
    while not condition(answer := ask()):
        assert time.monotonic() < end, answer
        time.sleep(0.2)
    return answer


def test_a_folder_of_runs_is_there_to_be_compared(runs):
    with tensorboard(runs) as (address, said):
        assert "pinnedCards" in said
        found = once(lambda x: "two/seed-1" in x and "one" in x, lambda: get(address, "runs"))
        assert "one/rloo" not in found
        beneath = {name.removeprefix("one/") for name in found if name.startswith("one/")}
        assert {"reinforce", "reinforce-baseline_optimal"} <= beneath
        assert f"{len(found)} runs in TensorBoard" in said

        series = once(
            lambda x: {"one", "two"} <= x["scalars"]["runTagInfo"].keys() and x["images"],
            lambda: get(address, "plugin/timeseries/tags"),
        )
        tags = series["scalars"]["runTagInfo"]
        assert set(tags["one/reinforce"]) == {RELATIVE, OF_EQUAL_STEPS}
        assert {*BAND, RELATIVE, OF_EQUAL_STEPS} <= set(tags["one"])
        assert {RETURN, "why/entropy"} <= set(tags["two/seed-1"])
        everything = {tag for each in tags.values() for tag in each}
        assert everything <= DESCRIPTIONS.keys()
        assert len(everything) <= 25
        for tag in everything:
            assert series["scalars"]["tagDescriptions"][tag], tag
        (figure,) = series["images"]["tagRunSampledInfo"]
        assert figure == "with figures/learning curve, seed by seed"
        assert set(series["images"]["tagRunSampledInfo"][figure]) == {"one", "two"}

        layout = get(address, "plugin/custom_scalars/layout")["category"]
        assert [category["title"] for category in layout] == ["learning", "gradient"]
        (band,) = layout[0]["chart"]
        assert band["margin"]["series"] == [
            dict(zip(("value", "lower", "upper"), BAND, strict=True))
        ]
        assert [c["multiline"]["tag"] for c in layout[1]["chart"]] == [
            [f"^{RELATIVE}$"],
            [f"^{OF_EQUAL_STEPS}$"],
        ]

        points = get(address, "plugin/scalars/scalars", run="one", tag=RETURN)
        assert len(points) > 1
        assert get(address, "plugin/text/tags").keys() >= {"one", "two"}
        assert "results" in get(address, "plugin/text/tags")["one"]

        experiment = post(address, "plugin/hparams/experiment", {"experimentName": ""})
        options = {info["name"]: info for info in experiment["hparamInfos"]}
        assert {"agent", "gamma", "steps", "baseline", "learning_rate"} <= options.keys()
        about = {"experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "sliceSize": 10}
        wanted = {"name": {"tag": SOLVED, "group": ""}}
        groups = post(
            address,
            "plugin/hparams/session_groups",
            about | {"colParams": [{"metric": wanted["name"]}], "startIndex": 0},
        )["sessionGroups"]
        assert {group["hparams"]["agent"] for group in groups} == {
            "reinforce",
            "reinforce-baseline",
        }
        for group in groups:
            shown = {m["name"]["tag"]: m["value"] for m in group["metricValues"]}
            assert shown[SOLVED] == 0


def test_a_single_run_has_its_name(runs):
    with tensorboard(runs / "two") as (address, _):
        expected = ["two", "two/seed-0", "two/seed-1"]
        assert once(lambda x: len(x) == 3, lambda: sorted(get(address, "runs"))) == expected


def test_what_cannot_be_shown_is_said(tmp_path, runs):
    def said(*arguments):
        result = CliRunner().invoke(main, ["tensorboard", *map(str, arguments)])
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        return re.sub(r"\s+", " ", result.output)

    assert "is none. Give a run, a comparison" in said(tmp_path / "nowhere")
    assert "found none. Give a run" in said(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on port {port}" in said(runs, "--port", port)
        assert "Choose another --port" in said(runs, "--port", port)
    assert "cannot listen" in said(runs, "--host", "no.such.host.invalid")


def test_a_comparison_shows_its_own_folder(tmp_path):
    from pgzoo.records.viewer import shown

    place = tmp_path / "tensorboard" / "ppo"
    place.mkdir(parents=True)
    for folder in (place, tmp_path):
        (folder / "events.out.tfevents.1.host.1.0").touch()
    assert shown(tmp_path) == [place]
    assert shown(Path(tmp_path) / "tensorboard") == [place]
