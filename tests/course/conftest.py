import pytest


@pytest.fixture
def one_thread(monkeypatch):
    """Kernels of one thread, for two run at once: threads that wait for a core take it, too."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
