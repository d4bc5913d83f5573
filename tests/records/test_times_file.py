import pytest

from pgzoo.records.run_folder import RunFolder
from pgzoo.records.times_file import TimesFile, read_times, write_times
from tests.records.examples import CONFIG


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", CONFIG)


def test_times_add_up_over_sessions_and_are_cut_back(folder):
    assert read_times(folder) == []
    times = TimesFile(folder, 0)
    assert times.seconds == 0
    for iteration, seconds in enumerate((0.5, 1.25, 2.0)):
        times.append(iteration, seconds)
    times.close()
    text = (folder.path / "times.csv").read_text()
    assert text == "iteration,seconds\n0,0.5000\n1,1.2500\n2,2.0000\n"
    times = TimesFile(folder, 2)  # of iteration 2 there was no checkpoint
    assert times.seconds == 1.25
    times.append(2, 1.75)
    times.close()
    assert read_times(folder) == [(0, 0.5), (1, 1.25), (2, 1.75)]


@pytest.mark.parametrize(
    "rest", ["", "1", "1,", "x,y\n", "1,nan\n", "1,-1\n", "1,1e999\n", "\0\udcff\n", '"\n']
)
def test_what_a_crash_has_left_is_left_out(folder, rest):
    write_times(folder, [(0, 2.5)])
    with (folder.path / "times.csv").open("ab") as file:
        file.write(rest.encode(errors="surrogateescape"))
    assert read_times(folder) == [(0, 2.5)]
    times = TimesFile(folder, 1)
    assert times.seconds == 2.5
    times.close()
