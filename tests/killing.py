"""Processes that step environments, and a thread that kills them at random moments."""

import contextlib
import threading
import time
import warnings

import numpy as np
import psutil


def workers():
    """Those that are alive."""

    def is_one(process):
        with contextlib.suppress(psutil.Error):
            return any("pgzoo_envs.worker" in word for word in process.cmdline())

    return [p for p in psutil.Process().children() if is_one(p)]


@contextlib.contextmanager
def all_workers_killed(most, within, seed):
    """Kill all workers again and again, until there were ``most``; what is said of it is ignored.

    Args:
        most: workers to kill.
        within: seconds after ``go_on`` in which they are killed.
        seed: of those moments.

    Yields:
        the workers that have been killed so far, and ``go_on``, which a step that is begun calls:
        the next ones are killed when the last have been replaced.
    """
    gone_on, over, killed = threading.Event(), threading.Event(), []
    moments = np.random.default_rng(seed)

    def kill():
        while len(killed) < most and gone_on.wait() and not over.wait(moments.uniform(0, within)):
            for worker in workers():
                worker.kill()
                killed.append(worker)
            while not over.is_set() and set(workers()) <= set(killed):
                time.sleep(0.005)
            gone_on.clear()  # until the step is over in which there is another one

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield killed, gone_on.set
    finally:
        over.set()
        gone_on.set()
        thread.join()
