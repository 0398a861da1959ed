"""The command line."""

from viae.cli.main import main

__all__ = ["main"]
