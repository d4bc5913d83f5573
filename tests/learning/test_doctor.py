"""What the doctor says of a damaged run is what happens when somebody tries."""

import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace as Namespace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from pgzoo_envs import EnvError

import pgzoo
from pgzoo.compare.contenders import Contender
from pgzoo.compare.from_runs import outcomes_of
from pgzoo.compare.plot import plot_runs
from pgzoo.compare.runs import holdings, open_library, outcome
from pgzoo.learning.doctor.verdicts import NEEDS
from pgzoo.records import files
from pgzoo.records.run_folder import RunFolder
from pgzoo.records.schema import signed
from pgzoo.records.viewer import shown

PARTS = ("config.json", "checkpoint.safetensors", "metrics.csv", "times.csv", "summary.json")
ESTIMATOR = """
def psi(t):
    return (t.reward * t.mask).sum(-1, keepdim=True).expand(t.mask.shape)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One complete run, one that was interrupted, one that has hardly begun, one of a program."""
    folder = tmp_path_factory.mktemp("runs")
    common = {"env": "CartPole-v1", "seeds": (3, 5), "hidden": (4,), "progress": False}
    pgzoo.train("ppo", steps=600, diagnostics=2, out=folder / "whole", **common)
    pgzoo.train("ppo", steps=500, out=folder / "other", **common)
    common |= {"callback": lambda report: report.share > 0.4, "diagnostics": 0}
    pgzoo.train("ppo", steps=600, segment_steps=16, out=folder / "part", **common)
    pgzoo.train("rloo", steps=600, episodes=4, group_size=2, out=folder / "groups", **common)
    (folder / "mine.py").write_text(ESTIMATOR)
    own = f"{folder / 'mine.py'}:psi"
    pgzoo.train(own, steps=600, episodes=4, out=folder / "own", **common)
    refers = {"reference": str(folder / "groups"), "kl_coef": 0.05}
    referring = folder / "referring"
    pgzoo.train("rloo", steps=600, episodes=4, group_size=2, out=referring, **common, **refers)
    for place in referring.iterdir():
        if place.name != "config.json":
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    new = pgzoo.load(folder / "part")
    RunFolder.create(folder / "new", new.config)
    return folder


@pytest.fixture
def copied(runs, tmp_path):
    (tmp_path / "other").symlink_to(runs / "other")

    def copy(name):
        place = tmp_path / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(runs / name, place, symlinks=True)
        return place

    return copy


def contents(folder):
    return {
        p.relative_to(folder): (p.read_bytes() if p.is_file() and not p.is_symlink() else None)
        for p in folder.rglob("*")
    }


def evaluate(run):
    pgzoo.load(run).evaluate(2)


def watch(run):
    pgzoo.load(run).film(seconds=0.1)


def plot(run):
    outcomes_of([pgzoo.load(run)])  # drawing takes long, and reads no further file


def compare(run):
    config = pgzoo.load(run).config
    library = open_library(run.parent / "nowhere", [run], env=config.env)
    contender = Contender("it", config.agent, {}, config)
    found = holdings(contender, config.seeds, library, version=version("pgzoo"))
    assert not found.missing, "its seeds cannot be used"
    outcome(contender, found.parts)


def resume(run):
    loaded = pgzoo.load(run)
    loaded.resume(loaded.config.agent, progress=False)
    assert loaded.summary is not None


TRY = {
    "evaluate": evaluate,
    "watch": watch,
    "plot": plot,
    "compare": compare,
    "tensorboard": shown,
    "resume": resume,  # last, since it writes
}


def possible(action, run):
    try:
        TRY[action](run)
    except (pgzoo.UsageError, EnvError, AssertionError):
        return False
    return True


def check_verdicts(run):
    """Hold what the doctor says against what happens; it must leave all as it is."""
    before = contents(run)
    found = pgzoo.doctor(run)
    assert contents(run) == before
    assert set(TRY) == set(NEEDS) == {v.action for v in found.verdicts}
    verdicts = {v.action: v for v in found.verdicts}
    happens = {action: possible(action, run) for action in TRY}
    assert {action: v.possible for action, v in verdicts.items()} == happens, str(found)
    assert all(v.reason for v in found.verdicts if not v.possible)
    return found


def edit(name, change):
    """Change a JSON file and sign it anew, as a stranger can."""

    def damage(run):
        data = json.loads((run / name).read_text())
        data.pop("digest", None)
        change(data)
        (run / name).write_text(json.dumps(signed(data)))

    return damage


def rewrite(name, change):
    def damage(run):
        (run / name).write_bytes(change((run / name).read_bytes()))

    return damage


def remove(name):
    def damage(run):
        place = run / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)

    return damage


def link(name):
    """Put what is there elsewhere, and a link to it in its place."""

    def damage(run):
        outside = run.parent / "outside"
        shutil.rmtree(outside, ignore_errors=True)
        outside.unlink(missing_ok=True) if outside.is_file() else None
        shutil.move(run / name, outside)
        (run / name).symlink_to(outside)

    return damage


def pipe(name):
    def damage(run):
        remove(name)(run)
        os.mkfifo(run / name)

    return damage


def folder(name):
    def damage(run):
        remove(name)(run)
        (run / name).mkdir()

    return damage


def hard_link(run):
    os.link(run / "metrics.csv", run.parent / "metrics-elsewhere")


def of_another(name):
    """The file of another run with the same agent."""

    def damage(run):
        shutil.copy(run.parent / "other" / name, run / name)

    return damage


def events(change):
    def damage(run):
        for place in run.glob("events.*"):
            change(place)

    return damage


def resigned_policy(run):
    """A checkpoint with policies of another width, rightly signed."""
    run = RunFolder(run)
    tensors, state = run.load_checkpoint()
    wide = {
        k: torch.cat([v, v], 1) if k.startswith("policy.") and not k.endswith("count") else v
        for k, v in tensors.items()
        if not k.startswith("pending.")
    }
    assert run.config()
    run.save_checkpoint(wide, state)


def resigned_snapshot(run):
    run = RunFolder(run)
    assert run.config()
    run.save_snapshot(0, torch.zeros(2, 3))


def all_failed(run):
    run = RunFolder(run)
    tensors, state = run.load_checkpoint()
    for replica in state["replicas"]:
        replica |= {"failed": "numbers became non-finite", "finished": True}
    run.save_checkpoint(tensors, state)


def forged_failure(data):
    data["failed"] = ["broken", None]
    data["eval_mean"][0] = data["eval_std"][0] = data["eval_standard_error"][0] = None
    if data["threshold"] is not None:
        data["solved"][0] = False


def leftover(run):
    (run / f".config.json.{'0' * files.DIGITS}.tmp").write_text("{")


DAMAGE = {
    "none": lambda run: None,
    **{f"{name} removed": remove(name) for name in (*PARTS[1:], "snapshots")},
    **{f"{name} a link": link(name) for name in (*PARTS, "snapshots")},
    **{f"{name} a pipe": pipe(name) for name in PARTS},
    **{f"{name} a folder": folder(name) for name in PARTS[1:]},
    **{f"{name} empty": rewrite(name, lambda content: b"") for name in PARTS},
    **{f"{name} halved": rewrite(name, lambda c: c[: len(c) // 2]) for name in PARTS},
    **{f"{name} longer": rewrite(name, lambda c: c + b"7,7\n") for name in PARTS},
    **{f"{name} other bytes": rewrite(name, lambda c: b"\xff" + c[1:]) for name in PARTS},
    **{f"{name} of another run": of_another(name) for name in PARTS[1:]},
    "events removed": events(Path.unlink),
    "events cut": events(lambda place: place.write_bytes(place.read_bytes()[:-9])),
    "events changed": events(lambda p: p.write_bytes(p.read_bytes()[:60] + b"x" * 60)),
    "events linked": events(lambda place: link(place.name)(place.parent)),
    "snapshot 0 removed": remove("snapshots/000.safetensors"),
    "snapshot 10 removed": remove("snapshots/010.safetensors"),
    "snapshot 0 halved": rewrite("snapshots/000.safetensors", lambda c: c[: len(c) // 2]),
    "snapshot 0 a link": link("snapshots/000.safetensors"),
    "snapshot 0 of another width": resigned_snapshot,
    "snapshot 10 a link": link("snapshots/010.safetensors"),
    "checkpoint of another width": resigned_policy,
    "checkpoint without survivors": all_failed,
    "metrics hard link": hard_link,
    "leftover": leftover,
    "foreign file": lambda run: (run / "notes \x1b.txt").write_text("mine"),
    "another environment": edit("config.json", lambda c: c.update(env="Acrobot-v1")),
    "no environment": edit("config.json", lambda c: c.update(env="Nowhere-v7")),
    "another agent": edit("config.json", lambda c: c.update(agent="reinforce")),
    "another version": edit("config.json", lambda c: c["versions"].update(pgzoo="0.0.1")),
    "another device": edit("config.json", lambda c: c.update(device="cuda")),
    "option missing": edit("config.json", lambda c: c["hyperparameters"].pop("hidden")),
    "option unknown": edit("config.json", lambda c: c["hyperparameters"].update(x=1)),
}
OF_WHOLE = {
    "summary forged": edit("summary.json", lambda s: s.update(iterations=99)),
    "summary failed": edit("summary.json", forged_failure),
    "summary steps": edit("summary.json", lambda s: s.update(env_steps_per_seed=[9, 9])),
}


@pytest.mark.parametrize("damage", [*DAMAGE, *OF_WHOLE])
def test_a_verdict_on_a_complete_run_is_what_happens(copied, damage):
    run = copied("whole")
    (DAMAGE | OF_WHOLE)[damage](run)
    check_verdicts(run)


@pytest.mark.parametrize("damage", [d for d in DAMAGE if "summary" not in d])
def test_a_verdict_on_an_interrupted_run_is_what_happens(copied, damage):
    run = copied("part")
    DAMAGE[damage](run)
    check_verdicts(run)


@pytest.mark.parametrize("name", ["new", "groups", "own", "referring"])
@pytest.mark.parametrize(
    "damage", ["none", "config.json empty", "times.csv halved", "foreign file", "another version"]
)
def test_a_verdict_on_other_runs_is_what_happens(copied, name, damage):
    run = copied(name)
    if not damage.startswith("times") or (run / "times.csv").exists():
        DAMAGE[damage](run)
    check_verdicts(run)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(["whole", "part"]),
    part=st.integers(0, 2**16),
    at=st.integers(0, 2**20),
    bits=st.integers(1, 255),
)
def test_a_flipped_byte_anywhere_changes_no_verdict_into_a_wrong_one(copied, name, part, at, bits):
    run = copied(name)
    places = sorted(p for p in run.rglob("*") if p.is_file() and not p.name.startswith("events"))
    place = places[part % len(places)]
    content = bytearray(place.read_bytes())
    content[at % len(content)] ^= bits
    place.write_bytes(bytes(content))
    check_verdicts(run)


def test_a_complete_run_is_healthy_and_can_be_drawn(copied):
    run = copied("whole")
    found = pgzoo.doctor(run, evaluate=True)
    assert found.healthy
    assert {f.severity for f in found.findings} == {"fine"}
    assert plot_runs([run], run.parent / "figures", ["svg"])


@pytest.mark.parametrize(
    ("damage", "part", "severity"),
    [
        ("checkpoint.safetensors halved", "checkpoint.safetensors", "damaged"),
        ("metrics.csv halved", "metrics.csv", "damaged"),
        ("metrics.csv longer", "metrics.csv", "note"),
        ("times.csv halved", "times.csv", "damaged"),
        ("events cut", "events.out", "note"),
        ("events changed", "events.out", "damaged"),
        ("snapshot 10 removed", "snapshots", "damaged"),
        ("summary failed", "summary.json", "damaged"),
        ("leftover", "folder", "note"),
        ("foreign file", "folder", "note"),
        ("another version", "versions", "note"),
    ],
)
def test_a_finding_names_the_part_and_how_bad_it_is(copied, damage, part, severity):
    run = copied("whole")
    (DAMAGE | OF_WHOLE)[damage](run)
    found = [f for f in pgzoo.doctor(run).findings if f.severity != "fine"]
    worst = max(found, key=lambda f: ("note", "damaged").index(f.severity))
    assert (worst.severity, worst.part.startswith(part)) == (severity, True), found
    assert str(run) not in worst.text


def test_a_run_that_is_trained_right_now_is_left_alone(copied):
    run = copied("part")
    with RunFolder(run).training():
        verdicts = {v.action: v for v in pgzoo.doctor(run).verdicts}
        assert not verdicts["resume"].possible
        assert "trained right now" in verdicts["resume"].reason
        assert verdicts["evaluate"].possible
    assert {v.action: v for v in pgzoo.doctor(run).verdicts}["resume"].possible


def test_a_program_of_the_owners_is_compared_and_never_run(copied, runs, tmp_path):
    run, ran = copied("own"), tmp_path / "ran"
    file = Path(pgzoo.load(run).config.agent.rpartition(":")[0])
    before = file.read_text()
    try:
        file.write_text(f"{before}\nopen({str(ran)!r}, 'w')\n")
        verdicts = {v.action: v for v in pgzoo.doctor(run).verdicts}
        assert not verdicts["resume"].possible
        assert "changed" in verdicts["resume"].reason
        assert not ran.exists()
    finally:
        file.write_text(before)


def test_an_environment_of_a_module_is_not_imported(copied, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "hostile.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    run = copied("whole")
    edit("config.json", lambda c: c.update(env="hostile:CartPole-v1"))(run)
    verdicts = {v.action: v.possible for v in pgzoo.doctor(run).verdicts}
    assert verdicts["evaluate"] is not True
    assert not (tmp_path / "ran").exists()


def test_results_of_another_evaluation_are_found_out(copied):
    run = copied("whole")
    edit("summary.json", lambda s: s.update(eval_mean=[m + 1 for m in s["eval_mean"]]))(run)
    found = pgzoo.doctor(run, evaluate=True)
    assert "other returns for seeds 3, 5" in str(found)
    assert not found.healthy


def test_what_is_no_run_is_named(runs, tmp_path):
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison" / "question.json").write_text("{}")
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "metrics.csv").touch()
    (tmp_path / "file").touch()
    for path, words in (
        (tmp_path / "nowhere", "no folder"),
        (tmp_path / "file", "no folder"),
        (tmp_path, "no config.json"),
        (tmp_path / "comparison", "a comparison"),
        (tmp_path / "lost", "has lost its config.json"),
        (runs, "holds 7 of them"),
    ):
        with pytest.raises(pgzoo.UsageError, match=words):
            pgzoo.doctor(path)


def test_a_full_disk_is_seen_before_training_finds_it(copied, monkeypatch):
    run = copied("part")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Namespace(free=100))
    verdicts = {v.action: v for v in pgzoo.doctor(run).verdicts}
    assert not verdicts["resume"].possible
    assert "make room" in verdicts["resume"].reason
    assert verdicts["evaluate"].possible


def test_a_diagnosis_in_words_shows_and_does_nothing(copied):
    run = copied("whole")
    DAMAGE["foreign file"](run)
    edit("config.json", lambda c: c["versions"].update(torch="2 \u200f"))(run)
    said = str(pgzoo.doctor(run))
    assert "\x1b" not in said
    assert "\u200f" not in said
    assert "\\u200f" in said
