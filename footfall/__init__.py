"""Footfall: website and product analytics."""

from importlib.metadata import version

__version__ = version("footfall")
