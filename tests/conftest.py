import pytest
import torch
from hypothesis import settings

settings.register_profile("pgzoo", deadline=None, max_examples=60)
settings.load_profile("pgzoo")


@pytest.fixture(autouse=True)
def _two_threads():
    torch.set_num_threads(2)
