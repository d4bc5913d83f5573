import pytest

from pgzoo.errors import UsageError
from pgzoo.records.run_folder import RunFolder
from pgzoo.records.times_file import TimesFile, read_times, write_times
from tests.records.examples import CONFIG, SUMMARY


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


def add(folder, rest):
    with (folder.path / "times.csv").open("ab") as file:
        file.write(rest.encode(errors="surrogateescape"))


LINES = ["x,y\n", "1,nan\n", "1,-1\n", "1,1e999\n", "\0\udcff\n", '"\n', "0,3.0000\n", "1,2.4\n"]


@pytest.mark.parametrize("rest", ["", "1", "1,", "1,3.00", *LINES])
def test_what_a_crash_has_left_is_cut_off(folder, rest):
    """Up to the checkpoint all of it was on the disk."""
    write_times(folder, [(0, 2.5)])
    add(folder, rest)
    times = TimesFile(folder, 1)
    assert times.seconds == 2.5
    times.close()
    assert read_times(folder) == [(0, 2.5)]


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_nobody_wrote_is_refused(folder, line):
    write_times(folder, [(0, 2.5)])
    add(folder, "1,3.00")
    assert read_times(folder) == [(0, 2.5)]  # the last line is not whole
    write_times(folder, [(0, 2.5)])
    add(folder, line)
    for read in (lambda: read_times(folder), lambda: TimesFile(folder, 2)):
        with pytest.raises(UsageError, match=r"times\.csv is damaged: line 3 is"):
            read()


def test_times_of_a_complete_run_are_as_its_summary_says(folder):
    write_times(folder, [(0, 2.5)])
    folder.write_summary(SUMMARY)
    assert read_times(folder) == [(0, 2.5)]
    for change in (lambda: write_times(folder, [(0, 2.25)]), (folder.path / "times.csv").unlink):
        change()
        with pytest.raises(UsageError, match=r"times\.csv is damaged: .* digest in summary"):
            read_times(folder)


def test_a_run_without_its_times_goes_on(folder):
    times = TimesFile(folder, 7)
    times.append(7, 1.0)
    times.close()
    assert read_times(folder) == [(7, 1.0)]
