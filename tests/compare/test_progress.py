"""What is shown while contenders train."""

import io
import re

import pytest

from pgzoo.compare.progress import Lines, LiveTable, Standings, display
from pgzoo.errors import UsageError
from pgzoo.learning.shards import ShardReport


def report(share, returns=(10.0, 500.0), speed=100.0, failed=None):
    return ShardReport(3, share, returns, speed, failed or {})


def standings(*reports):
    """Two contenders of 1,000 steps: one in two shards of two seeds each, one in one."""
    found = Standings([("ppo", 1000), ("rloo[a]", 1000)])
    for place, (label, seeds) in enumerate([("ppo", (0, 1)), ("ppo", (2, 3)), ("rloo[a]", (0, 1))]):
        found.add(place, label, seeds)
    for place, one in enumerate(reports):
        if one is not None:
            found.update(place, one)
    return found


def test_shares_and_times_are_of_all_shards():
    found = standings(report(1.0, speed=500.0), report(0.5))
    ppo, rloo = found.of.values()
    assert (ppo.share, rloo.share) == (0.75, 0)
    assert ppo.steps_per_second == 100  # who has finished is not at work
    assert ppo.steps_left == 1000
    assert found.share == 3000 / 6000
    assert found.seconds_left == 3000 / 100
    assert sorted(ppo.returns) == [10, 10, 500, 500]


def test_lines_come_at_every_tenth_and_at_failures(capsys):
    show = Lines(475.0)
    for share in (0.05, 0.1, 0.15, 0.2):
        show(standings(report(share), report(share, failed={2: "numbers became non-finite"})))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "ppo: seed 2 stopped: numbers became non-finite; the others go on",
        "ppo: 10%, return 255.0 ± 282.9, 2 of 4 at 475, 200 steps/s, 18 s left",
        "ppo: 20%, return 255.0 ± 282.9, 2 of 4 at 475, 200 steps/s, 16 s left",
    ]


def test_the_live_table_has_a_line_for_each_contender():
    from rich.console import Console

    found = standings(report(0.5), report(0.5, returns=(None, None)))
    text = io.StringIO()
    console = Console(file=text, width=100)
    console.print(LiveTable(475.0)._table(found))
    shown = text.getvalue()
    assert "33% of all steps" in shown
    assert re.search(r"ppo +│ +50% │ +255.0 ± 346.5 │ +1 of 4 │ +200 │ +10 s", shown)
    assert re.search(r"rloo\[a\] +│ +0% │ +… │ +0 of 2 │ +– │ +waits", shown)


def test_manners_are_checked():
    with pytest.raises(UsageError, match="`progress` among auto, rich"):
        display("loud", None)  # type: ignore[arg-type]
