"""Windows: to be replaced by the fast path."""

from viae.load.reference import MAX_POOL_BYTES, ReferenceWindows, gather

Windows = ReferenceWindows
__all__ = ["MAX_POOL_BYTES", "Windows", "gather"]
