"""Published test suites: a plug-in proves itself by subclassing the contract of its kind.

::

    from viae.testing import LogFormatContract

    class TestMyFormat(LogFormatContract):
        format = MyFormat()

        def make_log(self, folder):
            ...

Needs pytest. Nothing in viae outside the tests imports this package.
"""

from viae.testing.logs import LogFormatContract
from viae.testing.making import write_lerobot

__all__ = ["LogFormatContract", "write_lerobot"]
