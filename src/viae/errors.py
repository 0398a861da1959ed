"""Every error that viae raises on purpose.

::

    ViaeError
    ├── UsageError (ValueError)               the request itself makes no sense
    ├── MissingExtraError (ImportError)       an optional package is not installed
    ├── SchemaError (ValueError)              a record breaks its own definition
    ├── LogError (ValueError)                 a log cannot be read
    │   ├── LogNotFoundError (FileNotFoundError)
    │   ├── UnknownFormatError                no installed format recognises the file
    │   ├── EmptyLogError                     the file holds no bytes
    │   └── DamagedLogError                   bytes that should be there are not, or are wrong
    ├── RecorderError (OSError)               a recording cannot go on
    ├── StoreError (OSError)                  a store cannot be read or written
    │   ├── StoreNotFoundError (FileNotFoundError)
    │   ├── StoreVersionError                 written by a newer viae
    │   ├── StoreFullError                    no space left where the store lives
    │   ├── NoSuchEpisodeError (LookupError)
    │   └── QueryError (ValueError)           SQL that the store cannot answer
    ├── ExportError (ValueError)              an export that would not say what the store says
    ├── VideoError (ValueError)               a picture that cannot be decoded or coded
    ├── WindowError (ValueError)              a window spec the data cannot honour
    ├── LoaderError (RuntimeError)            loading broke off: a worker died
    ├── WorldError (ValueError)               a world or task that does not exist
    ├── TrainingError (RuntimeError)          training broke off: its numbers went wrong
    ├── TokenError (ValueError)               a value that has no token, or a token no value
    ├── QueryRefusedError (ValueError)        a question that the history gives no ground to answer
    └── BundleError (ValueError)              a bundle that cannot be loaded or does not fit

An error is built from facts, which it keeps as attributes; its text says what failed, where, what
was found, what was expected and what to do. ``exit_code`` is what the command line returns.
"""

from __future__ import annotations

import os
from typing import Any


class ViaeError(Exception):
    """The root of the tree: catching it catches everything viae raises on purpose."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Built from keywords, and yet it can travel from a worker to the main process."""
        return _again, (type(self), self.args, self.__dict__)


class UsageError(ViaeError, ValueError):
    """The request itself makes no sense, whatever the data."""

    exit_code = 2


class MissingExtraError(ViaeError, ImportError):
    """An optional package is not installed."""

    exit_code = 2

    def __init__(self, package: str, *, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f"this needs the package '{package}', which is not installed: "
            f"run  pip install 'viae[{extra}]'"
        )


class SchemaError(ViaeError, ValueError):
    """A record breaks its own definition."""


class LogError(ViaeError, ValueError):
    """A log cannot be read.

    Args:
        path: the file or folder.
        found: what was there, as a clause.
        expected: what should have been there, as a clause.
        todo: the next step, as an imperative clause.
        stream: the stream or topic concerned, if one is.
        at_ns: the log time concerned, ns, if known.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        found: str,
        expected: str = "",
        todo: str = "",
        stream: str = "",
        at_ns: int | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.found = found
        self.expected = expected
        self.todo = todo
        self.stream = stream
        self.at_ns = at_ns
        where = self.path
        if stream:
            where += f", stream '{stream}'"
        if at_ns is not None:
            where += f", at {at_ns / 1e9:.3f} s"
        text = f"{where}: {found}"
        if expected:
            text += f"; expected {expected}"
        if todo:
            text += f". {todo[0].upper()}{todo[1:]}"
        super().__init__(text)


class LogNotFoundError(LogError, FileNotFoundError):
    """The path does not exist."""

    exit_code = 2

    def __str__(self) -> str:
        return str(self.args[0])


class UnknownFormatError(LogError):
    """No installed format recognises the file."""


class EmptyLogError(LogError):
    """The file holds no bytes."""


class DamagedLogError(LogError):
    """Bytes that should be there are missing or wrong, and nothing could be kept."""


class RecorderError(ViaeError, OSError):
    """A recording cannot go on; what was written up to the last flush stays readable."""


class StoreError(ViaeError, OSError):
    """A store cannot be read or written."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no store at this address."""

    exit_code = 2

    def __init__(self, uri: str) -> None:
        self.uri = uri
        super().__init__(
            f"{uri}: there is no viae store here. Make one with  viae ingest PATH… --store {uri}"
        )


class StoreVersionError(StoreError):
    """The store was written by a newer viae."""

    exit_code = 2

    def __init__(self, uri: str, *, found: int, supported: int) -> None:
        self.uri = uri
        self.found = found
        self.supported = supported
        super().__init__(
            f"{uri}: this store has compatibility number {found}; this viae reads up to "
            f"{supported}. Upgrade with  pip install -U viae"
        )


class StoreFullError(StoreError):
    """There is no space left where the store lives."""

    def __init__(self, uri: str, *, kept: int) -> None:
        self.uri = uri
        self.kept = kept
        super().__init__(
            f"{uri}: no space left on the device; the {kept} episodes already committed are whole. "
            "Free some space and run the same command again: it goes on where it stopped"
        )


class NoSuchEpisodeError(StoreError, LookupError):
    """No episode, or more than one, begins with this id."""

    exit_code = 2

    def __init__(self, uri: str, episode: str, *, candidates: int) -> None:
        self.uri = uri
        self.episode = episode
        self.candidates = candidates
        many = f"{candidates} episodes begin with" if candidates else "no episode begins with"
        super().__init__(f"{uri}: {many} '{episode}'. List them with  viae ls --store {uri}")


class QueryError(StoreError, ValueError):
    """SQL that the store cannot answer."""

    exit_code = 2


class ExportError(ViaeError, ValueError):
    """An export that would not say what the store says; nothing was left at its address."""


class VideoError(ViaeError, ValueError):
    """A picture that cannot be decoded or coded; whoever knows the stream and time adds them."""


class LoaderError(ViaeError, RuntimeError):
    """Loading broke off: a worker died, or was killed."""


class WindowError(ViaeError, ValueError):
    """A window spec that the data cannot honour."""

    exit_code = 2


class WorldError(ViaeError, ValueError):
    """A world or task that does not exist, or a condition it cannot be reset into."""

    exit_code = 2


class TrainingError(ViaeError, RuntimeError):
    """Training went wrong again and again, and gave up."""


class TokenError(ViaeError, ValueError):
    """A value that has no token, or a token that has no value."""


class QueryRefusedError(ViaeError, ValueError):
    """A base model is asked what its history, or its training, gives no ground to answer."""


class BundleError(ViaeError, ValueError):
    """A bundle that cannot be loaded, or does not fit what it is asked to do."""


def _again(kind: type[ViaeError], args: tuple[Any, ...], facts: dict[str, Any]) -> ViaeError:
    new = OSError.__new__ if issubclass(kind, OSError) else kind.__new__  # OSErrors hold more
    error: ViaeError = new(kind)
    BaseException.__init__(error, *args)
    error.__dict__.update(facts)
    return error
