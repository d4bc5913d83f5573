"""pgzoo: a laboratory and teaching framework for policy-gradient methods.

    run = pgzoo.train("rloo", env="CartPole-v1", seeds=10)
    run.plot()
    pgzoo.compare(["ppo", "rloo"], env="CartPole-v1").verdicts
    pgzoo.measure(["rloo", "grpo"], run=run, at=20).table

What ``__init__.pyi`` names is loaded when it is first asked for.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("pgzoo")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
