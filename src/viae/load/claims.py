"""Who decodes what, so that no two threads decode the same group of pictures at once."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager


class Claims:
    """Rows being decoded now. Safe for several threads; another process has its own."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._given_back = threading.Condition()

    @contextmanager
    def some_of(self, rows: Collection[int]) -> Iterator[list[int]]:
        """Claim those rows that nobody has; where others have all of them, wait for the first.

        Look again at what is missing afterwards: others may have done it. Never claim while
        holding a claim.

        Args:
            rows: at least one.

        Yields:
            The rows claimed, in the given order; none after waiting.
        """
        with self._given_back:
            mine = [row for row in rows if row not in self._taken]
            if not mine:
                self._given_back.wait()
            self._taken.update(mine)
        try:
            yield mine
        finally:
            with self._given_back:
                self._taken.difference_update(mine)
                self._given_back.notify_all()

    def __reduce__(self) -> tuple[type[Claims], tuple[()]]:
        """A process knows nothing of the claims of others."""
        return Claims, ()
