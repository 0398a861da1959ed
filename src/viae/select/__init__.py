"""What to collect next."""

from viae.select.allocate import Outcomes, QueueLine, allocate

__all__ = ["Outcomes", "QueueLine", "allocate"]
