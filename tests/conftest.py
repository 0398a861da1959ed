"""Fixtures for every room."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real logs: ``$VIAE_DATA``, or ``../shared/data`` beside the repository."""
    folder = Path(os.environ.get("VIAE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real logs at {folder}; set VIAE_DATA to a folder that has them")
    return folder
