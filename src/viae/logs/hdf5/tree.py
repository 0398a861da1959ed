"""What is in an HDF5 group: its datasets and attributes, however deep. No link is followed.

A hard link that leads to what was met before is reported, and so is a soft or external one: a
circle cannot hold the reader, and no file is opened but the one that was named.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from viae.logs.arrays.contents import MAX_VALUES, to_json
from viae.schema import JsonValue, Loss, LossKind

MAX_DEPTH = 32
MAX_OBJECTS = 100_000
MAX_TEXT = 1 << 20
MAX_BYTES = 1 << 22


@dataclass(slots=True, kw_only=True)
class Tree:
    """What was found.

    Args:
        path: the file.
        datasets: by path below the group.
        facts: attributes, by path and name with dots between.
        losses: what was not taken.
    """

    path: str
    datasets: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, JsonValue] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    seen: set[Any] = field(default_factory=set)

    def lose(self, kind: LossKind, name: str, stream: str, detail: str) -> None:
        """Note something that was not taken."""
        self.losses.append(
            Loss(kind=kind, name=name, path=self.path, stream=stream, count=None, detail=detail)
        )

    def walk(self, group: Any, at: str = "", depth: int = 0) -> None:
        """Everything in a group; what cannot be opened is a loss."""
        import h5py

        try:
            self.seen.add(_address(group))
        except Exception as error:  # damaged bytes make h5py raise anything
            detail = f"it cannot be opened ({type(error).__name__}: {error!s:.160})"
            self.lose(LossKind.LOST, "object-damaged", at or "/", detail)
            return
        self.attributes(group, at)
        for name, link in members(group, self, at):
            path = f"{at}/{to_text(name)}" if at else to_text(name)
            if not isinstance(link, h5py.HardLink):
                to = getattr(link, "path", "?")
                where = f" in {link.filename}" if isinstance(link, h5py.ExternalLink) else ""
                detail = f"a {type(link).__name__} to {to}{where}; links are not followed"
                self.lose(LossKind.SKIPPED, "link", path, detail)
                continue
            try:
                found = group[name]
                address = _address(found)
            except Exception as error:  # damaged bytes make h5py raise anything
                detail = f"it cannot be opened ({type(error).__name__}: {error!s:.160})"
                self.lose(LossKind.LOST, "object-damaged", path, detail)
                continue
            if address in self.seen:
                detail = "it is linked a second time; it was taken under its first name"
                self.lose(LossKind.SKIPPED, "link", path, detail)
            elif len(self.seen) >= MAX_OBJECTS or depth >= MAX_DEPTH:
                detail = f"more than {MAX_OBJECTS} objects, or groups {MAX_DEPTH} deep; not taken"
                self.lose(LossKind.SKIPPED, "too-many-objects", path, detail)
            elif isinstance(found, h5py.Group):
                self.walk(found, path, depth + 1)
            elif isinstance(found, h5py.Dataset):
                self.seen.add(address)
                self.datasets[path] = found
                self.attributes(found, path)

    def attributes(self, of: Any, at: str) -> None:
        """The attributes of a group or dataset, as facts."""
        stream = at
        try:
            names = list(of.attrs)
        except Exception as error:
            detail = f"the attributes cannot be listed ({type(error).__name__}: {error!s:.160})"
            self.lose(LossKind.LOST, "attributes-damaged", stream, detail)
            return
        for name in names:
            key = ".".join(filter(None, [at.replace("/", "."), to_text(name)]))
            try:
                value = to_json(of.attrs[name]) if _is_readable(of, name) else None
            except Exception as error:
                detail = (
                    f"attribute {name!r} cannot be read ({type(error).__name__}: {error!s:.160})"
                )
                self.lose(LossKind.LOST, "attributes-damaged", stream, detail)
                continue
            if value is None or (isinstance(value, str) and len(value) > MAX_TEXT):
                detail = f"attribute {name!r} is nothing that a fact can hold; not taken"
                self.lose(LossKind.SKIPPED, "attribute-unknown", stream, detail)
            else:
                self.facts[key] = value


def members(group: Any, tree: Tree, at: str = "") -> Iterator[tuple[str, Any]]:
    """Names and links in a group."""
    try:
        names = list(group)
    except Exception as error:
        detail = f"what is in it cannot be listed ({type(error).__name__}: {error!s:.160})"
        tree.lose(LossKind.LOST, "object-damaged", at or "/", detail)
        return
    for name in names:
        try:
            yield name, group.get(name, getlink=True)
        except Exception as error:
            detail = f"it cannot be looked up ({type(error).__name__}: {error!s:.160})"
            tree.lose(LossKind.LOST, "object-damaged", f"{at}/{to_text(name)}".lstrip("/"), detail)


def _is_readable(of: Any, name: str) -> bool:
    """Whether an attribute is one that a fact can hold, before it is read.

    A damaged declaration can ask for any number of values. And a damaged text may look like a
    sequence of varying length, which no known writer makes: libhdf5 2.0, as h5py 3.16 calls it, can
    end the process when it reads that.
    """
    import h5py

    attribute = of.attrs.get_id(name)
    if isinstance(attribute.get_type(), h5py.h5t.TypeVlenID):
        return False
    if attribute.shape is None:
        return False
    size = math.prod(attribute.shape)
    return bool(size <= MAX_VALUES and size * attribute.dtype.itemsize <= MAX_BYTES)


def to_text(name: str | bytes) -> str:
    """A name as text; h5py gives bytes for one that is not UTF-8."""
    return name if isinstance(name, str) else name.decode(errors="backslashreplace")


def _address(found: Any) -> Any:
    import h5py

    return h5py.h5o.get_info(found.id).addr
