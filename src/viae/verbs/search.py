"""Search: the moments of a store that are like one, or that words are about."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from viae.errors import UsageError
from viae.load.embedding import Embedder, EpisodeEmbedder
from viae.schema import NS_PER_S, Episode, to_s
from viae.schema.tables import VECTORS_PREFIX
from viae.store import Store
from viae.store.texts import Text, TextIndex, read_texts
from viae.store.vectors import Vectors, Within
from viae.verbs.choose import chosen
from viae.verbs.embed import embed, opened
from viae.verbs.progress import Progress, Tell, quiet

APART_S = 1.0
FETCHED = 16
"""How many windows are looked at for each moment that is wanted: neighbours are much alike."""

_MOMENT = re.compile(r"(?P<episode>[^@]+)@(?P<seconds>[+-]?(\d+\.?\d*|\.\d+))s?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment of an episode.

    Args:
        episode: its id, or the beginning of it.
        at_s: seconds from the episode's start.
    """

    episode: str
    at_s: float

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Read ``EPISODE@12.3s``.

        Raises:
            UsageError: it is none.
        """
        found = _MOMENT.fullmatch(text.strip())
        if not found:
            raise UsageError(
                f"{text!r} is no moment: write EPISODE@SECONDS, such as 3fa2@12.3s, with the "
                "seconds from the episode's start. List the episodes with  viae ls"
            )
        return cls(episode=found["episode"], at_s=float(found["seconds"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A moment that was found.

    Args:
        episode: whose.
        at_s: seconds from the episode's start.
        start_ns: first arrival of what the window shows, or the begin of what the words are about;
            log clock.
        end_ns: last arrival, or the end.
        distance: 1 - cosine, from the moment that was asked for; None where only words were.
        score: how well the words fit (BM25); None without words.
        source: of the words: ``"task"``, ``"outcome"``, ``"fact"``, ``"stream"``, ``"event"``.
        name: the key of the fact, or the stream.
        text: the words.
    """

    episode: Episode
    at_s: float
    start_ns: int
    end_ns: int
    distance: float | None = None
    score: float | None = None
    source: str = ""
    name: str = ""
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "episode_id": self.episode.episode_id, "at_s": self.at_s, "start_ns": self.start_ns,
            "end_ns": self.end_ns, "distance": self.distance, "score": self.score,
            "source": self.source, "name": self.name, "text": self.text,
            "task": self.episode.task, "outcome": self.episode.outcome,
            "agent": self.episode.agent, "robot": self.episode.robot,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchReport:
    """What a search found.

    Args:
        store: its address.
        snapshot: id of the state that was searched.
        like: the moment asked for, as a hit at distance 0; None without one.
        event: the words asked for.
        where: the SQL condition on ``episodes``.
        embedder: whose vectors; empty without a moment.
        hits: the best first.
        search_s: how long it took to search, everything open.
    """

    store: str
    snapshot: str
    like: Hit | None
    event: str
    where: str
    embedder: str
    hits: Sequence[Hit] = field(default_factory=tuple)
    search_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "store": self.store, "snapshot": self.snapshot,
            "like": self.like.to_json() if self.like else None, "event": self.event,
            "where": self.where, "embedder": self.embedder, "search_s": self.search_s,
            "hits": [hit.to_json() for hit in self.hits],
        }  # fmt: skip


def search(
    store: Store,
    *,
    like: str | Moment | None = None,
    event: str = "",
    where: str = "true",
    k: int = 10,
    apart_s: float = APART_S,
    embedder: str | Embedder | EpisodeEmbedder | Path = "",
    tell: Tell = quiet,
    now_ns: Callable[[], int] = time.time_ns,
) -> SearchReport:
    """The moments of a store that are like one, or that words are about, or both.

    Args:
        store: at its newest state or at a snapshot.
        like: a moment, ``"EPISODE@12.3s"``: the windows nearest to the one that decides then.
        event: words, all of which must occur in a task, a fact, a text, the name of an event, or
            an outcome (success, failure). With ``like``: only windows at such an event.
        where: SQL condition on the table ``episodes``.
        k: at most so many hits.
        apart_s: of hits in one episode that are nearer in time than this, and of windows as near
            to the moment asked for, only the best counts; 0 keeps all but that moment.
        embedder: id, or the beginning of it, of the one whose vectors to use; by default the only
            one. Or an embedder, or the folder of a bundle, which first embeds what is not yet.
        tell: told of progress.
        now_ns: the clock, for the run's row of an embedding.

    Raises:
        UsageError: neither ``like`` nor ``event``, an embedder without ``like``, no such moment, no
            episode fits, nothing is embedded, or it is not clear which vectors are meant.
        NoSuchEpisodeError: the episode's id is not that of one episode.
        QueryError: ``where`` is not SQL.
    """
    if like is None and not event:
        raise UsageError("search for what? Give a moment (--like) or words (--event), or both")
    if k < 1 or not apart_s >= 0:
        raise UsageError(f"k is {k} and apart {apart_s} s: at least 1 hit, and 0 s")
    if like is None and embedder:
        raise UsageError(
            "whose vectors to use is said, but no moment to be like: give one (--like)"
        )
    moment = Moment.parse(like) if isinstance(like, str) else like
    asked = _moment(store, moment) if moment else None  # before anything is embedded for nothing
    if asked and not isinstance(embedder, str):
        made = opened(embedder) if isinstance(embedder, Path) else embedder
        embedder = made.embedder_id
        if store.pinned is None:
            needed = f"({where}) OR episode_id = '{asked.episode.episode_id}'"
            embed(store, made, where=needed, tell=tell, now_ns=now_ns)
    pinned = store.at(store.snapshot())
    vectors = _vectors(pinned, str(embedder)) if asked else None
    episodes = {episode.episode_id: episode for episode in chosen(pinned, where)}
    begin = time.perf_counter()
    texts: list[Text] = []
    if event:
        tell(Progress(phase="read words", done=0, total=1))
        texts = TextIndex(list(read_texts(pinned, episodes))).find(event)
        tell(Progress(phase="read words", done=1, total=1))
    if asked is None or vectors is None:
        found: Iterable[Hit] = (_text_hit(episodes[text.episode_id], text) for text in texts)
        hits = _distinct(found, k, apart_s, None)
    else:
        everywhere = not event and len(episodes) == len(pinned.episode_ids())
        within = _within(texts, apart_s) if event else dict.fromkeys(episodes)
        asked, hits = _like(
            vectors, asked, episodes, k, apart_s, None if everywhere else within, texts
        )
    return SearchReport(
        store=store.uri, snapshot=pinned.snapshot().snapshot_id, like=asked, event=event,
        where=where, embedder=vectors.embedder if vectors else "", hits=tuple(hits),
        search_s=time.perf_counter() - begin,
    )  # fmt: skip


def _moment(store: Store, moment: Moment) -> Hit:
    episode = store.episode(moment.episode)
    length_s = to_s(episode.end_ns - episode.start_ns)
    if not 0 <= moment.at_s <= length_s:
        raise UsageError(
            f"{store.uri}: episode {episode.episode_id} is {length_s:.3f} s long, and "
            f"{moment.at_s:g} s is outside of it"
        )
    at_ns = episode.start_ns + round(moment.at_s * NS_PER_S)
    return Hit(episode=episode, at_s=moment.at_s, start_ns=at_ns, end_ns=at_ns, distance=0.0)


def _vectors(store: Store, embedder: str) -> Vectors:
    """Those that are meant."""
    there = [name.removeprefix(VECTORS_PREFIX) for name in store.vector_tables()]
    fitting = [name for name in there if name.startswith(embedder)]
    if len(fitting) == 1:
        return Vectors(store, fitting[0])
    if not there:
        raise UsageError(
            f"{store.uri}: nothing is embedded in this store yet. Do it with  viae embed --bundle "
            f"BUNDLE --store {store.uri}  or search with --bundle BUNDLE"
        )
    many = f"{len(fitting)} embedders begin" if fitting else "no embedder begins"
    found = f"{many} with '{embedder}'" if embedder else "more than one has embedded windows"
    raise UsageError(
        f"{store.uri}: {found}; there are {', '.join(there)}. Say which with --embedder"
    )


def _like(
    vectors: Vectors,
    asked: Hit,
    episodes: dict[str, Episode],
    k: int,
    apart_s: float,
    within: Within | None,
    texts: Sequence[Text],
) -> tuple[Hit, list[Hit]]:
    """The window asked for, and those nearest to it."""
    window = vectors.at(asked.episode.episode_id, asked.start_ns)
    if window is None:
        raise UsageError(
            f"{vectors.store.uri}: no window of episode {asked.episode.episode_id} is among the "
            f"vectors of '{vectors.embedder}'. Embed it with  viae embed --bundle BUNDLE --store "
            f"{vectors.store.uri}"
        )
    origin = Hit(
        episode=asked.episode,
        at_s=to_s(int(window.decision_ns[0]) - asked.episode.start_ns),
        start_ns=int(window.start_ns[0]), end_ns=int(window.end_ns[0]), distance=0.0,
    )  # fmt: skip
    fetched = FETCHED * (k + 1) if apart_s else k + 1
    while True:
        rows = vectors.nearest(window.vectors[0], fetched, within=within).to_pylist()
        # A window that came after the snapshot's episodes were read belongs to none of them.
        own = [row for row in rows if row["episode_id"] in episodes]
        found = (_window_hit(episodes[row["episode_id"]], row, texts, apart_s) for row in own)
        hits = _distinct(found, k, apart_s, origin)
        if len(hits) == k or len(rows) < fetched:
            return origin, hits
        fetched *= 4


def _window_hit(
    episode: Episode, row: dict[str, Any], texts: Sequence[Text], apart_s: float
) -> Hit:
    about = next((text for text in texts if _is_at(text, row, apart_s)), None)
    return Hit(
        episode=episode, at_s=to_s(row["decision_ns"] - episode.start_ns),
        start_ns=row["start_ns"], end_ns=row["end_ns"], distance=max(0.0, row["_distance"]),
        score=about.score if about else None, source=about.source if about else "",
        name=about.name if about else "", text=about.text if about else "",
    )  # fmt: skip


def _text_hit(episode: Episode, text: Text) -> Hit:
    start = episode.start_ns if text.start_ns is None else text.start_ns
    end = episode.end_ns if text.end_ns is None else text.end_ns
    return Hit(
        episode=episode, at_s=to_s(start - episode.start_ns), start_ns=start, end_ns=end,
        score=text.score, source=text.source, name=text.name, text=text.text,
    )  # fmt: skip


def _span(text: Text, apart_s: float) -> tuple[int, int] | None:
    if text.start_ns is None or text.end_ns is None:
        return None
    room = round(apart_s * NS_PER_S)
    return text.start_ns - room, text.end_ns + room


def _is_at(text: Text, row: dict[str, Any], apart_s: float) -> bool:
    if text.episode_id != row["episode_id"]:
        return False
    span = _span(text, apart_s)
    return span is None or span[0] <= row["decision_ns"] <= span[1]


def _within(texts: Sequence[Text], apart_s: float) -> Within:
    """Where the words are: an episode as a whole counts more than a part of it."""
    spans: dict[str, list[tuple[int, int]] | None] = {}
    for text in texts:
        span = _span(text, apart_s)
        known = spans.setdefault(text.episode_id, [])
        if span is None:
            spans[text.episode_id] = None
        elif known is not None:
            known.append(span)
    return spans


def _distinct(found: Iterable[Hit], k: int, apart_s: float, origin: Hit | None) -> list[Hit]:
    """The first k that are apart in time from those before, and from where the search began."""
    taken: dict[str, list[float]] = {}
    if origin:
        taken[origin.episode.episode_id] = [origin.at_s]
    hits: list[Hit] = []
    for hit in found:
        times = taken.setdefault(hit.episode.episode_id, [])
        is_origin = (
            origin is not None
            and hit.episode.episode_id == origin.episode.episode_id
            and hit.at_s == origin.at_s
        )
        if is_origin or any(abs(hit.at_s - other) < apart_s for other in times):
            continue
        times.append(hit.at_s)
        hits.append(hit)
        if len(hits) == k:
            break
    return hits
