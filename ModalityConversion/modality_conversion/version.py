"""The version of the engine, written into every output."""

__version__ = "0.1.0"
