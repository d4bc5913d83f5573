import pytest

from pgzoo.course.grading.protections import missing
from pgzoo.course.grading.remote import Nursery

SECONDS = 3


@pytest.fixture(scope="session")
def nursery():
    if missing():
        pytest.skip(f"no protections here: {missing()}")
    with Nursery(SECONDS) as one:
        yield one
