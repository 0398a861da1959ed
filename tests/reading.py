"""What reading a log gives, put together."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from viae.logs import Statement, open_log
from viae.schema import Loss, Samples, StreamSpec, VideoGroup


@dataclass
class Contents:
    """What one episode held, blocks of a stream put together."""

    specs: dict[str, StreamSpec] = field(default_factory=dict)
    values: dict[str, list[Any]] = field(default_factory=dict)
    capture: dict[str, list[int]] = field(default_factory=dict)
    arrival: dict[str, list[int]] = field(default_factory=dict)
    seq: dict[str, list[int]] = field(default_factory=dict)
    groups: list[VideoGroup] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    statements: dict[str, Any] = field(default_factory=dict)

    def loss(self, name: str) -> Loss:
        [loss] = [loss for loss in self.losses if loss.name == name]
        return loss


def read_episode(path: Path, index: int = 0) -> Contents:
    contents = Contents()
    log = open_log(path)
    contents.losses += log.losses
    for item in list(log.episodes)[index].read():
        if isinstance(item, Loss):
            contents.losses.append(item)
        elif isinstance(item, Statement):
            contents.statements[item.key] = item.value
        else:
            name = item.spec.name
            contents.specs[name] = item.spec
            contents.capture.setdefault(name, []).extend(item.capture_ns.tolist())
            contents.arrival.setdefault(name, []).extend(item.arrival_ns.tolist())
            contents.seq.setdefault(name, []).extend(item.seq.tolist())
            if isinstance(item, Samples):
                contents.values.setdefault(name, []).extend(
                    value.tolist() if isinstance(value, np.ndarray | np.generic) else value
                    for value in item.values
                )
            else:
                contents.groups.append(item)
    return contents
