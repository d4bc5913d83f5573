"""Worker processes that die, fail, stand still, or are no longer needed."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pgzoo_envs
import psutil
import pytest
from pgzoo_envs import EnvError, pipes, processes, worker_process

from tests.killing import all_workers_killed, workers

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

ROWS, STEPS = 6, 260


def children():
    return set(psutil.Process().children())


def wait_until(condition):
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def _nobody_is_left():
    before = children()  # of other tests, such as a tracker of resources
    yield
    gc.collect()
    wait_until(lambda: children() <= before)


@pytest.fixture
def make():
    opened = []

    def factory(env_id="LunarLander-v3", rows=ROWS, num_processes=2, **options):
        options = {"max_episode_steps": 70} | options
        opened.append(pgzoo_envs.make(env_id, rows, processes=num_processes, **options))
        return opened[-1]

    yield factory
    for envs in opened:
        envs.close()


def play(envs, before_step=lambda t: None, steps=STEPS):
    """Episodes of many lengths, rows that rest for a while, and two resets of all."""
    rng = np.random.default_rng(0)
    seeds = rng.integers(0, 2**31, (steps + 1, envs.num_envs))
    actions = rng.integers(0, envs.single_action_space.n, (steps, envs.num_envs))
    active = rng.random((steps, envs.num_envs)) < 0.8
    history = []
    for t in range(steps):
        before_step(t)
        if t % 170 == 0:
            history.append((envs.reset(seed=seeds[t].tolist())[0],))
        envs.next_seeds = seeds[t + 1]
        if t % 20 == 0:
            envs.active = active[t]
        history.append(envs.step(actions[t])[:4])
    return history


def assert_same(history, expected):
    for step, want in zip(history, expected, strict=True):
        for a, b in zip(step, want, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def expected():
    envs = pgzoo_envs.make("LunarLander-v3", ROWS, processes=1, max_episode_steps=70)
    history = play(envs)
    assert sum(step[2].sum() + step[3].sum() for step in history if len(step) == 4) > 2 * ROWS
    return history


@pytest.mark.parametrize("num_processes", [2, 3])
def test_a_worker_killed_now_and_then_changes_no_bit(make, expected, num_processes):
    envs = make(num_processes=num_processes)
    victims = np.random.default_rng(1)

    def kill(t):
        if t in (0, 1, 37, 69, 70, 71, 102, 170, 171, 259):
            worker = victims.choice(workers())
            worker.kill()
            if t % 2:
                wait_until(lambda: worker.status() == psutil.STATUS_ZOMBIE)

    with pytest.warns(UserWarning, match=r"LunarLander-v3 was killed \(SIGKILL\)") as told:
        assert_same(play(envs, kill), expected)
    assert len(told) == 1
    assert len(workers()) == num_processes - 1


def test_killed_at_any_moment_by_another_thread(make, expected):
    envs = make()
    with all_workers_killed(3, within=0.1, seed=2) as (killed, go_on):
        while len(killed) < 3:
            assert_same(play(envs, lambda t: go_on()), expected)


@pytest.mark.parametrize("sent", [1, 3, -1], ids=["head", "a few bytes", "all but one byte"])
@pytest.mark.parametrize("at", [0, 50], ids=["reset", "step"])
def test_killed_within_its_reply(make, expected, monkeypatch, sent, at):
    """What has arrived of it must leave no trace."""
    envs = make()
    read_arrays, read = pipes.read_arrays, pipes.read
    step = -1

    def count(t):
        nonlocal step
        step = t

    def die(size):
        nonlocal step
        step = -1
        (worker,) = workers()
        worker.kill()
        raise EOFError

    def short(pipe, like):
        if step == at and sent != 1:
            read(pipe, sent if sent > 0 else sum(a.nbytes for a in like) - 1)
            die(sent)
        return read_arrays(pipe, like)

    def head(pipe, size):
        data = read(pipe, size)
        if step == at and sent == 1:
            die(size)
        return data

    monkeypatch.setattr(pipes, "read_arrays", short)
    monkeypatch.setattr(pipes, "read", head)
    with pytest.warns(UserWarning, match="in the reset" if at == 0 else "in step 51 after"):
        assert_same(play(envs, count), expected)


TEST_ENVS = '''
import os, random, sys
import gymnasium

class Walk(gymnasium.Env):
    """Counts; action 1 does something that the environment is named after."""

    observation_space = gymnasium.spaces.Discrete(1000)
    action_space = gymnasium.spaces.Discrete(2)
    count = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return 0, {}

    def step(self, action):
        self.count += 1
        if action:
            self.act()
        return self.count, 1.0, False, False, {}

class Raises(Walk):
    def act(self):
        raise KeyError("lost \\udcff")

class Exits(Walk):
    def act(self):
        sys.exit(7)

class Dies(Walk):
    def act(self):
        os._exit(7)

class Stays(Walk):
    """Its child holds the pipe when it is gone."""

    def act(self):
        if os.fork() == 0:
            import time
            time.sleep(20)
            os._exit(0)
        os._exit(7)

class Random(Walk):
    """Another number in each process."""

    number = random.SystemRandom().random()

    def step(self, action):
        _, _, *rest = super().step(action)
        return self.count, self.number, *rest

class RaisesInReset(Walk):
    def reset(self, *, seed=None, options=None):
        raise EOFError("no more levels")

class Wild(Walk):
    def __init__(self):
        if os.environ.get("WILD") == "dies":
            os._exit(9)
'''


@pytest.fixture(autouse=True, scope="module")
def _test_envs(tmp_path_factory):
    import gymnasium

    folder = tmp_path_factory.mktemp("envs")
    (folder / "walks.py").write_text(TEST_ENVS)
    sys.path.append(str(folder))
    names = ("Raises", "Exits", "Dies", "Stays", "Random", "RaisesInReset", "Wild")
    for name in names:
        gymnasium.register(f"{name}-v0", f"walks:{name}")
    yield
    for name in names:
        del gymnasium.registry[f"{name}-v0"]
    sys.path.remove(str(folder))


def advance(envs, steps):
    for _ in range(steps):
        envs.step(np.zeros(envs.num_envs, int))


LAST = np.array([0, 1])
"""Action 1 for the worker's row."""


def test_twice_in_the_same_step_is_an_error(make):
    envs = make("Dies-v0", 2)
    envs.reset(seed=0)
    advance(envs, 4)
    words = (
        r"steps Dies-v0 ended unexpectedly \(status 7\) in step 5 after the reset; the one in its "
        r"place ended unexpectedly \(status 7\), too\.$"
    )
    with (
        pytest.warns(UserWarning, match="status 7"),
        pytest.raises(EnvError, match=words) as error,
    ):
        envs.step(LAST)
    assert "memory" not in str(error.value)
    assert workers() == []
    with pytest.raises(EnvError, match="are closed"):
        advance(envs, 1)
    with pytest.raises(EnvError, match="are closed"):
        envs.reset(seed=0)


def test_killed_in_every_process_is_an_error_with_a_hint(make, monkeypatch):
    envs = make()
    envs.reset(seed=0)
    start = worker_process.Program.start

    def doomed(*args):
        process = start(*args)
        process.kill()
        return process

    monkeypatch.setattr(worker_process.Program, "start", doomed)
    workers()[0].kill()
    with (
        pytest.warns(UserWarning, match="SIGKILL"),
        pytest.raises(EnvError, match=r"place was killed \(SIGKILL\), too\. .*short of memory"),
    ):
        advance(envs, 1)


def test_too_often_is_an_error(make, monkeypatch):
    monkeypatch.setattr(processes, "MOST_DEATHS", 2)
    envs = make()
    envs.reset(seed=0)
    workers()[0].kill()
    with pytest.warns(UserWarning, match="SIGKILL"):
        advance(envs, 1)
    workers()[0].kill()
    advance(envs, 1)
    workers()[0].kill()
    with pytest.raises(EnvError, match=r"SIGKILL.*in step 3.* 2 others were replaced"):
        advance(envs, 1)


def test_a_process_that_dies_while_it_starts(make, monkeypatch):
    envs = make("Wild-v0", 2)
    envs.reset(seed=0)
    advance(envs, 3)
    monkeypatch.setenv("WILD", "dies")
    workers()[0].kill()
    with (
        pytest.warns(UserWarning, match="SIGKILL"),
        pytest.raises(EnvError, match=r"place ended .*status 9"),
    ):
        advance(envs, 1)
    monkeypatch.delenv("WILD")
    envs = make("Wild-v0", 2)
    workers()[0].kill()
    with pytest.warns(UserWarning, match=r"SIGKILL\) in the reset"):
        assert envs.reset(seed=0)[0].tolist() == [0, 0]
    advance(envs, 1)


@pytest.mark.parametrize(
    ("begin", "seed"), [("reset", None), ("reset", [3, None]), ("autoreset", [3, 4])]
)
def test_without_a_seed_there_is_nothing_to_repeat(make, begin, seed):
    envs = make(rows=2, max_episode_steps=3)
    envs.reset(seed=seed)
    advance(envs, 4 if begin == "autoreset" else 2)
    workers()[0].kill()
    with pytest.raises(EnvError, match=r"was killed.*cannot be replaced.*started with a seed"):
        advance(envs, 1)


def test_a_reset_without_a_seed_is_not_repeated_either(make):
    envs = make(rows=2)
    envs.reset(seed=[1, 2])
    workers()[0].kill()
    with pytest.raises(EnvError, match=r"in the reset\. It cannot be replaced"):
        envs.reset()


def test_an_environment_with_random_numbers_of_its_own_is_refused(make):
    envs = make("Random-v0", 2)
    envs.reset(seed=0)
    advance(envs, 3)
    workers()[0].kill()
    with (
        pytest.warns(UserWarning, match="SIGKILL"),
        pytest.raises(EnvError, match=r"Random-v0 has died.*have led elsewhere.*does not seed"),
    ):
        advance(envs, 1)
    assert workers() == []


@pytest.mark.parametrize("num_processes", [1, 2])
@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        ("Raises-v0", r"line \d+, in act\n.*\n?KeyError: 'lost .udcff'$"),
        ("Exits-v0", r"line \d+, in act\n.*\n?SystemExit: 7$"),
    ],
)
def test_an_exception_of_the_environment_is_shown_and_not_tried_again(
    make, env_id, words, num_processes
):
    envs = make(env_id, 2, num_processes)
    envs.reset(seed=[5, 8])
    advance(envs, 4)
    about = rf"^{env_id}, in step 5 of an episode from seed 8, action 1, raised an exception:\n"
    with (
        warnings.catch_warnings(action="error"),
        pytest.raises(EnvError, match=rf"(?s){about}.*walks\.py.*{words}") as error,
    ):
        envs.step(LAST)
    assert "pgzoo_envs" not in str(error.value), "only the environment's own lines"


@pytest.mark.parametrize("num_processes", [1, 2])
def test_an_exception_in_a_reset(make, num_processes):
    envs = make("RaisesInReset-v0", 2, num_processes)
    with pytest.raises(EnvError, match=r"(?s)being reset from seed 0, raised.*EOFError: no more"):
        envs.reset(seed=0)
    assert workers() == []


def test_a_child_of_a_dead_worker_is_not_waited_for(make):
    envs = make("Stays-v0", 2)
    envs.reset(seed=0)
    advance(envs, 1)
    began = time.monotonic()
    with (
        pytest.warns(UserWarning, match="status 7"),
        pytest.raises(EnvError, match=r"status 7.*, too"),
    ):
        envs.step(LAST)
    assert time.monotonic() - began < 15


def test_ctrl_c_while_a_worker_stands_still(make):
    """It cannot be told from one that is slow; and then nothing is left of it."""
    envs = make()
    envs.reset(seed=0)
    workers()[0].suspend()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        advance(envs, 1)
    timer.join()
    assert workers() == []


def test_a_worker_that_stands_still_for_a_while_is_waited_for(make, expected):
    envs = make()

    def pause(t):
        if t == 40:
            (worker,) = workers()
            worker.suspend()
            threading.Timer(0.2, worker.resume).start()

    assert_same(play(envs, pause), expected)


def test_signals_do_not_break_a_message(make, expected):
    """A system call that a handler interrupts goes on where it was."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
    try:
        assert_same(play(make()), expected)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_interrupted_write_is_finished():
    """Larger than a pipe holds, and the reader slow, so that signals cut it into pieces."""
    receiving, sending = os.pipe()
    message, got = os.urandom(1 << 20), bytearray()

    def read_slowly():
        with os.fdopen(receiving, "rb", buffering=0) as pipe:
            while part := pipe.read(30_000):
                got.extend(part)
                time.sleep(1e-3)

    thread = threading.Thread(target=read_slowly)
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
    thread.start()
    try:
        with os.fdopen(sending, "wb", buffering=0) as pipe:
            pipes.write(pipe, message)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    thread.join()
    assert bytes(got) == message


@pytest.mark.parametrize("how", ["close", "gc", "killed before", "suspended"])
def test_nothing_is_left_of_environments_that_are_no_longer_needed(how):
    others = children()
    envs = pgzoo_envs.make("LunarLander-v3", 6, processes=3)
    envs.reset(seed=0)
    assert len(workers()) == 2
    if how == "killed before":
        workers()[0].kill()
    if how == "suspended":
        workers()[0].suspend()
    if how == "gc":
        envs = None
    else:
        envs.close()
        envs.close()
    assert children() <= others


def test_a_process_that_cannot_be_started(make, monkeypatch):
    """The second of two: the first one does not stay behind."""
    others, start = children(), subprocess.Popen

    def refused(*args, **kwargs):
        if workers():
            raise OSError(11, "Resource temporarily unavailable")
        return start(*args, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", refused)
    with pytest.raises(EnvError, match=r"steps LunarLander-v3; the system refused: Resource"):
        make(num_processes=3)
    assert children() <= others


CALLER = """
import sys, numpy, pgzoo_envs
envs = pgzoo_envs.make("LunarLander-v3", 6, processes=3)
envs.reset(seed=0)
while True:
    envs.step(numpy.zeros(6, int))
    print("stepped", flush=True)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_end_when_their_caller_does(tmp_path, sent):
    path = str(Path(pgzoo_envs.__file__).parents[1])
    with (tmp_path / "errors").open("w") as errors:
        caller = subprocess.Popen(
            [sys.executable, "-P", "-c", CALLER],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert caller.stdout.readline() == b"stepped\n"
        below = psutil.Process(caller.pid).children()
        assert len(below) == 2
        caller.send_signal(sent)
        caller.stdout.close()
        caller.wait()
        psutil.wait_procs(below, timeout=30)
    assert [p for p in below if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    said = (tmp_path / "errors").read_text()
    assert said.count("Traceback") == (sent == signal.SIGINT), "the caller's own"


def test_a_caller_without_a_standard_error(tmp_path):
    script = textwrap.dedent(
        """
        import os, sys, numpy, pgzoo_envs
        envs = pgzoo_envs.make("LunarLander-v3", 6, processes=2)
        envs.reset(seed=0)
        envs.step(numpy.zeros(6, int))
        envs.close()
        print("stepped")
        """
    )
    path = str(Path(pgzoo_envs.__file__).parents[1])
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -P -c "$1" 2>&-', sys.executable, script],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "stepped\n"


def test_a_folder_that_is_gone_does_not_matter(tmp_path):
    """Another worker is started as the first one was."""
    script = textwrap.dedent(
        """
        import os, warnings, numpy, pgzoo_envs, psutil
        envs = pgzoo_envs.make("LunarLander-v3", 6, processes=2)
        envs.reset(seed=0)
        os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
        psutil.Process().children()[0].kill()
        envs.step(numpy.zeros(6, int))
        envs = pgzoo_envs.make("LunarLander-v3", 6, processes=2)
        envs.reset(seed=0)
        print("stepped")
        """
    )
    path = str(Path(pgzoo_envs.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "stepped\n", done.stderr


def test_a_long_episode_is_brought_back(make):
    """Longer than what there is room for at first, a second one in the same row included."""
    envs, twin = (make("Wild-v0", 2, n, max_episode_steps=300) for n in (2, 1))
    for one in (envs, twin):
        one.reset(seed=[1, 2])
        one.next_seeds = np.array([3, 4])
    with warnings.catch_warnings(action="ignore"):
        for t in range(700):
            if t in (63, 64, 65, 129, 299, 300, 301, 302, 600):
                workers()[0].kill()
            action = np.zeros(2, int)
            assert_same([envs.step(action)[:4]], [twin.step(action)[:4]])
    assert envs._running._actions.shape[1] <= 512
    assert envs._running._actions.itemsize == 1
