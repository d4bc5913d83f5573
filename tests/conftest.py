import pytest
import torch
from hypothesis import settings

settings.register_profile("pgzoo", deadline=None, max_examples=60)
settings.load_profile("pgzoo")


@pytest.fixture(autouse=True)
def _same_every_time():
    torch.set_num_threads(1)
    torch.manual_seed(0)
