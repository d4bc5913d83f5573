"""A comparison: what is trained, what is reused, what goes on, what is refused."""

import json
from pathlib import Path

import pandas as pd
import pytest

import pgzoo
from pgzoo.compare.films import middle_seed
from pgzoo.errors import UsageError
from pgzoo.learning import local
from pgzoo.learning import shards as shards_module
from pgzoo.learning.loop import TrainingInterrupted
from pgzoo.learning.shards import train_shard
from tests.compare.comparing import ROUGH, SMALL, compare
from tests.helpers import signed_again

pytestmark = pytest.mark.usefixtures("small_comparisons")


def constant(t):
    return t.mask.to(t.reward.dtype)


def stopped_at_once(shards, report, *, workers=None):
    for shard in shards:
        train_shard(shard, lambda found: found.iteration >= 1)
    raise TrainingInterrupted("saved")


def test_outcomes_are_those_of_runs_of_their_own():
    found = compare(*ROUGH, seeds=[4, 0, 2])
    assert [o.label for o in found.outcomes] == list(ROUGH)
    options = {k: SMALL[k] for k in ("env", "steps", "hidden", "device", "progress")}
    run = pgzoo.train("reinforce-baseline", episodes=4, seeds=[0, 2, 4], **options, diagnostics=0)
    outcome = found.outcomes[1]
    assert outcome.seeds == (0, 2, 4)
    assert outcome.returns.tolist() == run.summary["eval_mean"]
    assert outcome.trained.tolist() == run.summary["env_steps_per_seed"]
    assert outcome.options == {"episodes": 4}
    assert outcome.budget == 300
    mine = outcome.metrics.sort_values(["iteration", "seed"])[list(run.metrics)]
    pd.testing.assert_frame_equal(mine.reset_index(drop=True), run.metrics)
    assert outcome.metrics.seconds.notna().all()


def test_films_of_the_middle_seeds_are_in_the_report(monkeypatch):
    found = compare(*ROUGH, seeds=3, out="c", films=True)
    assert [p.name for p in sorted(Path("c/films").iterdir())] == ["0.gif", "1.gif"]
    page = Path("c/report.html").read_text()
    assert page.count("data:image/gif;base64,") == 2
    for outcome in found.outcomes:
        seed = middle_seed(outcome)
        assert f"{outcome.label}, seed {seed}: the middle one by its return" in page
        assert sorted(outcome.returns)[1] == outcome.returns[outcome.seeds.index(seed)]
    monkeypatch.setattr("pgzoo_envs.renders", lambda env: False)
    with pytest.raises(UsageError, match="that can be drawn with `films`, got CartPole-v1"):
        compare(films=True)


def test_without_out_nothing_is_left_behind():
    found = compare()
    assert found.folder.is_dir()
    assert not any(Path().iterdir())
    path = found.folder
    del found
    assert not path.exists()


def test_tables_verdicts_and_files():
    found = compare(out="c")
    assert found.table.index.tolist() == sorted(ROUGH, key=lambda label: -found.table.iqm[label])
    assert found.pairs[["first", "second"]].to_numpy().tolist() == [list(ROUGH)]
    assert len(found.verdicts) == 2  # one of returns, one of steps
    data = json.loads(Path("c/compare.json").read_text())
    assert data["verdicts"] == found.verdicts
    assert [c["label"] for c in data["contenders"]] == list(ROUGH)
    assert data["contenders"][0]["returns"] == found.outcomes[0].returns.tolist()
    assert data["contenders"][0]["runs"] == ["c/runs/reinforce_episodes_4-1"]
    assert data["versions"]["pgzoo"] == pgzoo.__version__
    assert all(Path(c["runs"][0], "summary.json").is_file() for c in data["contenders"])
    table = pd.read_csv("c/tables/contenders.csv")
    assert set(table.contender) == set(ROUGH)
    assert Path("c/report.html").stat().st_size > 0
    assert {p.name for p in Path("c/tensorboard").iterdir()} == {*ROUGH, "comparison"}
    html = found._repr_html_()
    assert "reinforce-baseline:episodes=4" in html
    assert found.verdicts[0].split(":")[0] in html


def test_the_command_in_the_report_repeats_it():
    found = compare(*ROUGH, ("ppo", {"lam": 0.5}))
    again = eval(found.command)  # what a reader would do
    assert [o.label for o in again.outcomes] == [*ROUGH, "ppo:lam=0.5"]
    for one, other in zip(found.outcomes, again.outcomes, strict=True):
        assert one.returns.tolist() == other.returns.tolist()


def test_complete_runs_are_reused_seed_by_seed(trained):
    options = {k: SMALL[k] for k in ("env", "steps", "hidden", "device", "progress")}
    for out, seeds in (("runs/a", (0, 1)), ("elsewhere/b", (1, 3, 9))):
        pgzoo.train("reinforce", episodes=4, seeds=seeds, out=out, **options)
    found = compare(reuse=["runs", "elsewhere"])
    assert sorted(trained) == [
        *(("reinforce", seed) for seed in (2, 4)),
        *(("reinforce-baseline", seed) for seed in range(5)),
    ]
    outcome = found.outcomes[0]
    assert outcome.seeds == (0, 1, 2, 3, 4)
    assert {"runs/a", "elsewhere/b"} < {str(path) for path in outcome.runs}
    assert any("reused from runs/a, elsewhere/b" in note for note in found.notes)
    fresh = compare(reuse=[])
    assert fresh.outcomes[0].returns.tolist() == outcome.returns.tolist()


def test_the_default_reuses_what_is_in_runs_and_in_other_comparisons(trained):
    compare(out="comparisons/one", seeds=3)
    trained.clear()
    compare(out="comparisons/two", seeds=3)
    assert not trained
    compare(out="comparisons/three", seeds=3, reuse=[])
    assert trained


def test_the_same_call_trains_nothing_twice_and_more_seeds_go_on(trained):
    compare(out="c", seeds=3)
    trained.clear()
    compare(out="c", seeds=3)
    assert not trained
    found = compare(out="c", seeds=5)
    assert {seed for _, seed in trained} == {3, 4}
    assert any("after a look at 3 of them" in note for note in found.notes)


def test_what_was_interrupted_goes_on_from_there(monkeypatch):
    """And ends as if nothing had happened."""
    whole = compare(reuse=[])

    def interrupted(shards, report, *, workers=None):
        train_shard(shards[0], lambda found: report(0, found))
        train_shard(shards[1], lambda found: found.iteration >= 1)
        raise TrainingInterrupted("saved")

    begun = []

    def going_on(shards, report, *, workers=None):
        begun.extend(shard.complete for shard in shards)
        for place, shard in enumerate(shards):
            train_shard(shard, lambda found, place=place: report(place, found))

    monkeypatch.setattr(shards_module, "SECONDS_BETWEEN_REPORTS", 0)
    monkeypatch.setattr(local, "train_all", interrupted)
    with pytest.raises(TrainingInterrupted, match="saved in c; the same comparison goes on"):
        compare(out="c", workers=2)
    with pytest.raises(TrainingInterrupted, match="Nothing is kept of a comparison without `out`"):
        compare(reuse=[], workers=2)
    monkeypatch.setattr(local, "train_all", going_on)
    found = compare(out="c", workers=1)  # the parts stay as they were cut
    assert begun[:2] == [True, False]
    for one, other in zip(whole.outcomes, found.outcomes, strict=True):
        assert one.returns.tolist() == other.returns.tolist()
    assert not Path("c/.unfinished").exists()


@pytest.mark.parametrize(
    "name", ["tables", "figures", "films", "tensorboard", ".unfinished", "runs"]
)
def test_links_in_its_folder_are_not_followed(name, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    compare(out="c", seeds=2)
    if Path("c", name).exists():
        Path("c", name).rename(f"c-{name}")
    Path("c", name).symlink_to(elsewhere)
    with pytest.raises(UsageError, match=f"Expected c/{name} to be a folder of the run's own"):
        compare(out="c", seeds=3)
    assert not any(elsewhere.iterdir())


@pytest.mark.parametrize("place", ["*", "*/part-1-of-1"])
def test_links_among_what_is_unfinished_are_not_followed(monkeypatch, place, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x"
    monkeypatch.setattr(local, "train_all", stopped_at_once)
    with pytest.raises(TrainingInterrupted):
        compare(out="c", workers=1)
    found = min(Path("c/.unfinished").glob(place))
    found.rename(elsewhere)
    found.symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    with pytest.raises(UsageError, match="to be a folder of the run's own, got a symbolic link"):
        compare(out="c", workers=1)
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.parametrize("parts", [0, -1, 10**9, "1", 1.5])
def test_a_plan_that_is_none_is_not_gone_on_with(monkeypatch, parts):
    with monkeypatch.context() as patch:
        patch.setattr(local, "train_all", stopped_at_once)
        with pytest.raises(TrainingInterrupted):
            compare(out="c", workers=1)
    for plan in Path("c/.unfinished").glob("*/plan.json"):
        plan.write_text(json.dumps(json.loads(plan.read_text()) | {"parts": parts}))
    assert compare(out="c", workers=1).outcomes[0].seeds == (0, 1, 2, 3, 4)


def test_a_folder_among_others_is_found_again(trained):
    first = compare(among="comparisons", seeds=2)
    assert str(first.folder) == "comparisons/CartPole-v1-1"
    assert compare(among="comparisons", seeds=3).folder.name == "CartPole-v1-2"
    trained.clear()
    assert compare(among="comparisons", seeds=2).folder == first.folder
    assert not trained


def test_another_question_is_refused():
    compare(out="c", seeds=2)
    with pytest.raises(UsageError, match=r"of another question: it has reinforce-baseline"):
        compare("reinforce:episodes=4", "ppo", out="c", seeds=2)
    with pytest.raises(UsageError, match="it is on CartPole-v1, not on FrozenLake-v1"):
        compare("reinforce", "ppo", out="c", seeds=2, env="FrozenLake-v1")
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="it holds something else"):
        compare(out="full", seeds=2)
    assert [p.name for p in Path("full").iterdir()] == ["mine.txt"]


def test_runs_of_another_version_or_budget_are_taken_when_asked(trained):
    compare(out="other", seeds=2)
    for config in Path("other").glob("runs/*/config.json"):
        versions = json.loads(config.read_text())["versions"] | {"pgzoo": "0.0.9"}
        signed_again(config, versions=versions)
    trained.clear()
    found = compare(seeds=2, reuse=["other"])
    assert trained
    assert any("of pgzoo 0.0.9; `any_version`" in note for note in found.notes)
    trained.clear()
    found = compare(seeds=2, reuse=["other"], any_version=True)
    assert not trained
    assert any("seeds of pgzoo 0.0.9 are compared" in note for note in found.notes)
    found = compare(seeds=2, reuse=["other"], any_version=True, steps=500)
    assert {o.budget for o in found.outcomes} == {500}
    assert any("of 300 steps, not 500; `any_budget`" in note for note in found.notes)
    trained.clear()
    found = compare(seeds=3, reuse=["other"], any_version=True, any_budget=True, steps=500)
    assert {seed for _, seed in trained} == {2}
    assert {o.budget for o in found.outcomes} == {300}
    assert any("300 steps per seed in place of 500" in note for note in found.notes)


def test_runs_without_diagnostics_are_not_taken_where_they_are_asked_for(trained):
    compare(out="other", seeds=2)
    trained.clear()
    found = compare(seeds=2, reuse=["other"], diagnostics=5)
    assert trained
    assert any("without diagnostics" in note for note in found.notes)


def test_half_written_and_damaged_runs_are_skipped_and_counted(trained):
    compare(out="other", seeds=2)
    one, two = sorted(Path("other/runs").iterdir())
    (one / "summary.json").unlink()
    (two / "metrics.csv").write_text("".join((two / "metrics.csv").open().readlines()[:-2]))
    for name, content in (("foreign", '{"mine": 1}'), ("no-json", "{")):
        Path("other", name).mkdir()
        Path("other", name, "config.json").write_text(content)
    trained.clear()
    found = compare(seeds=2, reuse=["other"])
    assert len(trained) == 4
    notes = "\n".join(found.notes)
    assert "skipped 1 runs that are not complete" in notes
    assert "skipped other/foreign: " in notes
    assert "skipped other/no-json: " in notes
    assert f"{two / 'metrics.csv'} is damaged: the checkpoint expects at least" in notes


def test_a_run_that_is_named_itself_must_be_of_use():
    compare(out="other", seeds=2)
    _, mine = sorted(Path("other/runs").iterdir())
    options = {k: SMALL[k] for k in ("steps", "device", "progress")}
    pgzoo.train("reinforce", env="FrozenLake-v1", seeds=1, out="lake", **options)
    pgzoo.train("ppo", env="CartPole-v1", seeds=1, out="ppo", **options)
    with pytest.raises(UsageError, match="runs of one environment, got CartPole-v1"):
        compare(seeds=2, reuse=["lake"])
    with pytest.raises(UsageError, match="to be of a contender, but ppo"):
        compare(seeds=2, reuse=["ppo"])
    with pytest.raises(UsageError, match="of 300 steps, not 400"):
        compare(seeds=2, reuse=[mine], steps=400)
    with pytest.raises(UsageError, match="nowhere is none"):
        compare(seeds=2, reuse=["nowhere"])
    (mine / "summary.json").unlink()
    with pytest.raises(UsageError, match="was interrupted"):
        compare(seeds=2, reuse=[mine])


def test_few_seeds_are_points_without_intervals():
    found = compare(seeds=3)
    assert found.table.iqm_low.isna().all()
    assert found.table.iqm.notna().all()
    assert any("Fewer than 5 seeds give no interval" in line for line in found.remarks)


def test_without_a_threshold_there_are_no_steps_to_it(monkeypatch):
    found = compare(env="CliffWalking-v1", max_episode_steps=20, seeds=2, steps=100)
    assert found.threshold is None
    assert found.table.steps_to_threshold.isna().all()
    assert not found.savings
    assert any("counts as solved" in line for line in found.remarks)


def test_a_function_is_a_contender_but_stays_on_this_machine():
    found = compare(constant, "reinforce", seeds=2)
    assert found.outcomes[0].label == "constant"
    with pytest.raises(UsageError, match=r"constant as FILE.py:FUNCTION with `on=ray`"):
        compare(constant, "reinforce", on="ray")
    with pytest.raises(UsageError, match="local, ray or ray://"):
        compare(on="mars")


def test_a_function_that_fails_leaves_no_folder():
    def broken(t):
        return t.reward[:, :1]

    with pytest.raises(UsageError, match="Expected broken to return"):
        compare(broken, "reinforce", seeds=2, out="c")
    assert not Path("c").exists()


def test_what_cannot_be_trained_shows_before_anything_is_trained(trained):
    with pytest.raises(UsageError, match=r"reinforce: .*no time limit"):
        compare("ppo", "reinforce", env="CliffWalking-v1", out="c")
    assert not trained
    assert not Path("c").exists()


def test_a_grid_adds_contenders():
    found = compare("reinforce:episodes=4", grid="ppo:lam=0.5,0.9", seeds=2)
    assert [o.label for o in found.outcomes][1:] == ["ppo:lam=0.5", "ppo:lam=0.9"]


def test_seeds_are_added_until_every_pair_is_decided(monkeypatch):
    """Returns that differ by far are decided after a look or two; equal ones use the budget up."""
    found = compare(
        "reinforce:episodes=4", "reinforce:episodes=5", seeds=2, until_decided=6, out="c", reuse=[]
    )
    counts = [len(o.seeds) for o in found.outcomes]
    assert found.decisions is not None
    if found.decisions.undecided:
        assert counts == [6, 6]
        assert "undecided after 6 and 6 seeds" in found.verdicts[-2]
    assert any("Seeds were added until pairs were decided" in line for line in found.remarks)
    with pytest.raises(UsageError, match="fixed before the first look"):
        compare("reinforce:episodes=4", "reinforce:episodes=5", seeds=2, until_decided=8, out="c")
    with pytest.raises(UsageError, match="at least twice the seeds of a batch, 10; got 6"):
        compare(until_decided=6)


def test_a_difference_that_matters_is_a_round_share_of_the_threshold():
    found = compare(seeds=2)
    assert found.difference_that_matters == 20  # 475 / 20 is 23.75
    assert compare(seeds=2, difference=0.5).difference_that_matters == 0.5


def test_unknown_options_and_figures_are_named():
    with pytest.raises(UsageError, match="Unknown option `lamb`"):
        compare(lamb=1)
    with pytest.raises(UsageError, match=r"`kind` among .*; got 'pie'"):
        compare(seeds=2).plot("pie")
    with pytest.raises(UsageError, match="`out` or `among`"):
        compare(out="a", among="b")
