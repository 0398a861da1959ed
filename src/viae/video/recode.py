"""Streams of pictures coded anew while they pass: video for fast access, images as video.

What cannot be coded without losing more than coding loses stays as it is, and it is said: depth and
other 16-bit pictures, mosaics of sensors, transparency. If one picture of a stream cannot be
decoded, the whole stream has to stay as it is, since half of it in another form would be another
stream; as its first part may be far gone by then, `UnrecodableError` is raised, and who drives this
reads the episode again with that stream among those to keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from viae.errors import SchemaError
from viae.schema import Kind, Samples, StreamSpec, VideoGroup
from viae.video.lines import Account, ImageLine, VideoLine
from viae.video.recoding import Recoding, why_kept

T = TypeVar("T")


class Recoder:
    """Codes the pictures of one episode anew while its blocks pass.

    Args:
        options: what becomes of pictures.
        kept: streams that stay as they are, and why.
    """

    def __init__(self, options: Recoding, kept: Mapping[str, str] | None = None) -> None:
        self._options = options
        self._kept = dict(kept or {})
        self._lines: dict[str, ImageLine | VideoLine] = {}
        self.accounts: dict[str, Account] = {}
        """By stream, those that were to be coded anew; complete when `items` has ended."""

    def items(self, items: Iterable[T]) -> Iterator[T | VideoGroup]:
        """What passes, blocks of pictures replaced; whatever is no block passes untouched.

        The samples of each stream stay in their order and are all there, with the times and
        ``seq`` they had. A stream that is coded anew may fall behind the others by a few pictures.

        Raises:
            UnrecodableError: see there.
            SchemaError: a stream changes midway.
        """
        for item in items:
            if isinstance(item, Samples | VideoGroup) and len(item):
                line = self._line(item.spec)
                if line is not None:
                    yield from self._counted(line.add(item), item.spec.name)
                    continue
            yield item
        for name, line in self._lines.items():
            yield from self._counted(line.finish(), name)

    def _line(self, spec: StreamSpec) -> ImageLine | VideoLine | None:
        name = spec.name
        if name in self._lines and spec != self.accounts[name].spec:
            was = self.accounts[name].spec.to_json()
            raise SchemaError(
                f"stream '{name}' changes from {was} to {spec.to_json()} within an episode"
            )
        if name in self.accounts or not self._options.wants(spec):
            return self._lines.get(name)
        reason = self._kept.get(name) or why_kept(spec)
        account = self.accounts[name] = Account(spec=spec, kept=reason)
        if not reason:
            kind = VideoLine if spec.kind is Kind.VIDEO else ImageLine
            self._lines[name] = kind(spec, self._options.coding, account)
        return self._lines.get(name)

    def _counted(self, groups: Iterator[VideoGroup], name: str) -> Iterator[VideoGroup]:
        account = self.accounts[name]
        for group in groups:
            account.pictures += len(group)
            account.groups += 1
            account.bytes_after += sum(map(len, group.packets))
            yield group
