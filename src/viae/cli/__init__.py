"""The command line."""

from viae.cli.app import main

__all__ = ["main"]
