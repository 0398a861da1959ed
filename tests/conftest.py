"""Fixtures for every room."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from reading import Contents
    from viae import Store
    from viae.verbs.improve import ImprovePlan, Round

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests compare weights to the bit

settings.register_profile("dev", deadline=None, max_examples=60)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.load_profile("ci" if "CI" in os.environ else "dev")

REPOSITORY = Path(__file__).parent.parent


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Improved:
    """A finished improvement."""

    work: Path
    store: "Store"
    plan: "ImprovePlan"
    rounds: "list[Round]"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real logs: ``$VIAE_DATA``, or ``../shared/data`` beside the repository."""
    folder = Path(os.environ.get("VIAE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real logs at {folder}; set VIAE_DATA to a folder that has them")
    return folder


@pytest.fixture
def read() -> "Callable[..., Contents]":
    """Reads one episode of a log, whole: ``read(path)``."""
    from reading import read_episode

    return read_episode


@pytest.fixture
def viae(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Said]:
    """The command line, in this process: ``viae("ls", "--store", folder)``."""
    from viae.cli import main

    def call(*words: object) -> Said:
        monkeypatch.setattr("sys.argv", ["viae", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Said(code=int(caught.value.code or 0), out=said.out, err=said.err)

    return call


class Inline(Executor):
    """Runs jobs at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope="session")
def inline() -> Executor:
    return Inline()


@pytest.fixture(scope="session")
def improved(tmp_path_factory: pytest.TempPathFactory, inline: Executor) -> Improved:
    """A small improvement that has come to its end. Its store is shared: only read it."""
    from viae import CloneRecipe, LoopConfig, Store
    from viae.verbs.improve import ImprovePlan, improve
    from viae.verbs.report import report

    work = tmp_path_factory.mktemp("improved")
    plan = ImprovePlan(
        world="metaworld", tasks=("button-press", "drawer-open"), demonstrations=2, rounds=1,
        budget=3, attempts=4, horizon=100, recipe=CloneRecipe(loop=LoopConfig(steps=60)),
    )  # fmt: skip
    store = Store.create(work / "store")
    rounds = improve(plan, store, work, inline)
    report(store, work / "report.html")
    return Improved(work=work, store=store, plan=plan, rounds=rounds)


@pytest.fixture
def improved_copy(improved: Improved, tmp_path: Path) -> Improved:
    """The same, to be written to."""
    from viae import Store

    work = shutil.copytree(improved.work, tmp_path / "improved")
    return replace(improved, work=work, store=Store.open(work / "store"))
