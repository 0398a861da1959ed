"""Everything in a store that is words, and a full-text search over it.

Words are tasks, outcomes, facts, text streams and the moments at which an outcome stream comes on.
They are few beside the numbers, so the index is made in memory of what is visible: no table to keep
in step, and a snapshot is searched as it was.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from viae.errors import UsageError
from viae.schema import Fact, Kind, Role
from viae.store.store import Store

OUTCOMES = {True: "success", False: "failure"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Words about an episode or a part of it.

    Args:
        episode_id: whose.
        source: ``"task"``, ``"outcome"``, ``"fact"``, ``"stream"`` or ``"event"``.
        name: the key of the fact, or the stream.
        text: the words.
        start_ns: log clock; None for the whole episode.
        end_ns: exclusive for a fact about a span, else equal to the start.
        score: how well they fit (BM25); 0 before a search.
    """

    episode_id: str
    source: str
    name: str
    text: str
    start_ns: int | None = None
    end_ns: int | None = None
    score: float = 0.0


def read_texts(store: Store, episode_ids: Collection[str]) -> Iterator[Text]:
    """All words about some episodes.

    Args:
        store: at its newest state or at a snapshot.
        episode_ids: which.
    """
    wanted = set(episode_ids)
    for episode in store.episodes():
        if episode.episode_id not in wanted:
            continue
        if episode.task:
            yield Text(episode_id=episode.episode_id, source="task", name="task", text=episode.task)
        if episode.outcome is not None:
            yield Text(
                episode_id=episode.episode_id, source="outcome", name="outcome",
                text=OUTCOMES[episode.outcome],
            )  # fmt: skip
    for fact in store.facts():
        if fact.episode_id in wanted and not _said_already(fact) and not _retracted(fact):
            yield Text(
                episode_id=fact.episode_id, source="fact", name=fact.key,
                text="" if fact.value is True else _words(fact.value),
                start_ns=fact.start_ns, end_ns=fact.end_ns,
            )  # fmt: skip
    yield from _of_streams(store, wanted)


class TextIndex:
    """A full-text index over texts, in memory.

    Words are compared without case, stemmed as English, stop words left out; the name of a fact or
    stream counts as words, too.

    Args:
        texts: all that can be found.
    """

    def __init__(self, texts: Collection[Text]) -> None:
        self.texts = tuple(texts)
        if not self.texts:
            return
        import lance

        words = [f"{_spaced(text.name)} {text.text}" for text in self.texts]
        table = pa.table({"words": words, "row": np.arange(len(words))})
        self._dataset = lance.write_dataset(table, f"memory://viae-{secrets.token_hex(8)}")
        self._dataset.create_scalar_index("words", "INVERTED")

    def find(self, query: str, k: int | None = None) -> list[Text]:
        """The texts in which every word of the query occurs, the best first.

        Args:
            query: words.
            k: at most so many; None for all.

        Raises:
            UsageError: there is no word in the query.
        """
        if not any(letter.isalnum() for letter in query):
            raise UsageError(f"there is no word to search for in {query!r}")
        if not self.texts:
            return []
        from lance.query import FullTextOperator, MatchQuery

        rows = self._dataset.to_table(
            columns=["row", "_score"],
            full_text_query=MatchQuery(query, "words", operator=FullTextOperator.AND),
            limit=k or len(self.texts),
        )
        found = zip(rows["row"].to_pylist(), rows["_score"].to_pylist(), strict=True)
        best = sorted(found, key=lambda pair: (-pair[1], pair[0]))
        return [_scored(self.texts[row], score) for row, score in best]


def _of_streams(store: Store, wanted: set[str]) -> Iterator[Text]:
    rows = store.streams(wanted)
    texts = {row["stream"] for row in rows if row["spec"].kind is Kind.TEXT}
    outcomes = {
        row["stream"] for row in rows
        if row["spec"].kind is Kind.VECTOR and row["spec"].role is Role.OUTCOME
        and not row["spec"].varies
    }  # fmt: skip
    for (episode_id, stream), samples in store.samples(wanted, texts).items():
        for at, value in zip(samples.arrival_ns.tolist(), samples.values, strict=True):
            yield Text(
                episode_id=episode_id, source="stream", name=stream, text=str(value),
                start_ns=at, end_ns=at,
            )  # fmt: skip
    for (episode_id, stream), samples in store.samples(wanted, outcomes).items():
        values = np.asarray(samples.values).reshape(len(samples), -1)
        on = np.concatenate([[0], (values != 0).max(axis=1).astype(np.int8)])
        for row in np.flatnonzero(np.diff(on) > 0).tolist():
            at = int(samples.arrival_ns[row])
            yield Text(
                episode_id=episode_id, source="event", name=stream, text="",
                start_ns=at, end_ns=at,
            )  # fmt: skip


def _said_already(fact: Fact) -> bool:
    """The outcome and task of an episode are told with the episode."""
    return fact.key in ("outcome", "task") and fact.start_ns is None


def _retracted(fact: Fact) -> bool:
    """Of a span that somebody said is none."""
    return fact.value is False and fact.start_ns is not None


def _words(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _spaced(name: str) -> str:
    return "".join(letter if letter.isalnum() else " " for letter in name)


def _scored(text: Text, score: float) -> Text:
    return Text(
        episode_id=text.episode_id, source=text.source, name=text.name, text=text.text,
        start_ns=text.start_ns, end_ns=text.end_ns, score=score,
    )  # fmt: skip
