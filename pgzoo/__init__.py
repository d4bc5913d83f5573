"""pgzoo: a laboratory and teaching framework for policy-gradient methods."""

from importlib.metadata import version

__version__ = version("pgzoo")
