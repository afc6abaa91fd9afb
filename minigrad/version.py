"""The version of the package; setup.cfg reads it here without importing anything."""

__version__ = "0.1.0"
