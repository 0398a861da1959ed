"""The report: one file, complete, every rate with its n and interval."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from viae import Store
from viae.errors import UsageError
from viae.verbs.report import report


@pytest.fixture
def page(improved) -> str:
    return (improved.work / "report.html").read_text()


class Links(HTMLParser):
    """All that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {"src", "srcset", "href", "xlink:href", "data", "action", "poster"}
        self.found += [value or "" for name, value in attrs if name in names]
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}


def test_needs_nothing_beside_it(page: str):
    links = Links()
    links.feed(page)
    assert [link for link in links.found if not link.startswith("#")] == []
    assert re.findall(r"url\((?!#)[^)]*\)|@import", page) == []


def test_every_rate_has_n_and_an_interval(page: str):
    rates = re.findall(r"<b>\d+%</b>(.*?)</", page)
    assert len(rates) == 2 + 2 * 3  # the title's, and those of two tasks and all in two rounds
    for rest in rates:
        assert re.fullmatch(r" <small>\[\d+, \d+\] n=\d+", rest)


def test_says_what_each_bundle_saw_and_what_was_selected(page: str, improved):
    for round_ in improved.rounds:
        assert round_.evaluation.bundle_id in page
        for line in round_.queue:
            assert line.reason in page
    assert improved.store.uri in page


def test_written_twice_it_is_the_same(page: str, improved, tmp_path: Path):
    assert report(improved.store, tmp_path / "again.html").read_text() == page


def test_there_is_nothing_to_report(tmp_path: Path):
    with pytest.raises(UsageError, match="holds no improvement yet"):
        report(Store.create(tmp_path / "store"), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
