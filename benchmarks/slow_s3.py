"""An S3-compatible server on loopback, and a proxy before it that delays each request.

The server is moto's, in a process of its own; the proxy is another. A request is what a client
sends on a connection after the answer to the one before; its answer is held back until the delay
has passed. So round trips cost what they cost on a network, and bytes cost nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

PIECE = 1 << 18
COUNTS = b"GET /-/counts "
"""Asks the proxy itself."""
RANGE = re.compile(
    rb"GET (/[^ ?]+) HTTP/1\.1\r\n(?:.*?\r\n)?range: bytes=(\d+)-(\d+)\r\n", re.I | re.S
)
SIGNED = "AWS4-HMAC-SHA256 Credential=test/20200101/us-east-1/s3/aws4_request"
"""moto wants to be signed to, and does not look at the signature."""
MADE = "Thu, 01 Jan 2026 00:00:00 GMT"


@dataclass(frozen=True, kw_only=True)
class SlowS3:
    """A running server.

    Args:
        direct: its URL.
        slow: the URL of the proxy.
        options: storage options for Lance, but for the endpoint.
    """

    direct: str
    slow: str
    options: dict[str, str]

    def at(self, url: str) -> dict[str, str]:
        """Storage options for one of the URLs."""
        return {**self.options, "aws_endpoint": url}

    def counts(self) -> dict[str, int]:
        """Requests through the proxy so far, and bytes of answers."""
        with urllib.request.urlopen(f"{self.slow}/-/counts") as answer:
            found: dict[str, int] = json.load(answer)
        return found


@contextlib.contextmanager
def slow_s3(*, delay_s: float, bucket: str = "viae") -> Iterator[SlowS3]:
    """Start server and proxy, make a bucket, and end them again.

    Args:
        delay_s: of each request.
        bucket: made empty.
    """
    with _process("serve") as direct, _process("proxy", direct, str(delay_s)) as slow:
        made = urllib.request.Request(f"{direct}/{bucket}", method="PUT")
        urllib.request.urlopen(made).close()
        options = {
            "aws_access_key_id": "test", "aws_secret_access_key": "test",
            "aws_region": "us-east-1", "allow_http": "true",
        }  # fmt: skip
        yield SlowS3(direct=direct, slow=slow, options=options)


@contextlib.contextmanager
def _process(*words: str) -> Iterator[str]:
    """One of the two below, in a process of its own; its URL."""
    command = [sys.executable, __file__, *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError(f"{command} did not start")
            yield url
        finally:
            process.kill()


def serve() -> None:
    """Moto's server, until this process is ended."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(f"http://{host}:{port}", flush=True)
    sys.stdin.read()  # ends when the parent does
    os._exit(0)


class Proxy:
    """Passes on connections to the target, each request delayed.

    Ranges of objects are answered from memory: moto copies the whole object for each of them.

    Args:
        target: URL.
        delay_s: of each request.
    """

    def __init__(self, target: str, delay_s: float) -> None:
        self._target, self._delay_s = target, delay_s
        self._host, port = target.removeprefix("http://").split(":")
        self._port = int(port)
        self._objects: dict[str, tuple[bytes, str]] = {}
        self._counts = {"requests": 0, "bytes": 0}

    async def run(self) -> None:
        """Until the parent ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=PIECE)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        os._exit(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            behind_reader, behind_writer = await asyncio.open_connection(self._host, self._port)
            link = _Link(reader, writer, behind_reader, behind_writer)
            answers = asyncio.create_task(self._answers(link))
            try:
                await self._requests(link)
            finally:
                answers.cancel()
                writer.close()
                behind_writer.close()

    async def _requests(self, link: _Link) -> None:
        clock = asyncio.get_running_loop().time
        while data := await link.reader.read(PIECE):
            if link.answered and data.startswith(COUNTS):
                link.writer.write(_answer("200 OK", json.dumps(self._counts).encode()))
                continue
            if link.answered:
                self._counts["requests"] += 1
                found = RANGE.match(data)
                if found and data.endswith(b"\r\n\r\n"):
                    due = clock() + self._delay_s
                    answer = await self._range(*(part.decode() for part in found.groups()))
                    await asyncio.sleep(max(0.0, due - clock()))
                    self._counts["bytes"] += len(answer)
                    link.writer.write(answer)
                    await link.writer.drain()
                    continue
                link.answered, link.due = False, clock() + self._delay_s
                if not data.startswith((b"GET ", b"HEAD ")):
                    self._objects.clear()
            link.behind_writer.write(data)
            await link.behind_writer.drain()

    async def _answers(self, link: _Link) -> None:
        clock = asyncio.get_running_loop().time
        with contextlib.suppress(OSError):
            while data := await link.behind_reader.read(PIECE):
                await asyncio.sleep(max(0.0, link.due - clock()))
                link.answered = True
                self._counts["bytes"] += len(data)
                link.writer.write(data)
                await link.writer.drain()

    async def _range(self, path: str, first: str, last: str) -> bytes:
        if path not in self._objects:
            loop = asyncio.get_running_loop()
            self._objects[path] = await loop.run_in_executor(None, self._fetch, path)
        data, tag = self._objects[path]
        start, end = int(first), min(int(last) + 1, len(data))
        where = f"Content-Range: bytes {start}-{end - 1}/{len(data)}\r\nETag: {tag}\r\n"
        return _answer("206 Partial Content", data[start:end], where)

    def _fetch(self, path: str) -> tuple[bytes, str]:
        asked = urllib.request.Request(self._target + path, headers={"Authorization": SIGNED})
        with urllib.request.urlopen(asked) as answer:
            return answer.read(), answer.headers["ETag"]


@dataclass
class _Link:
    """A connection, the one behind it, and the request that is under way."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    behind_reader: asyncio.StreamReader
    behind_writer: asyncio.StreamWriter
    answered: bool = True
    due: float = 0.0


def _answer(status: str, body: bytes, more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}"
    return head.encode() + f"Last-Modified: {MADE}\r\n\r\n".encode() + body


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        asyncio.run(Proxy(sys.argv[2], float(sys.argv[3])).run())
