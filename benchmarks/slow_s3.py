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
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

PIECE = 1 << 18
COUNTS = b"GET /-/counts "
"""Asks the proxy itself."""


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


async def proxy(target: str, delay_s: float) -> None:
    """Pass on connections to the target, each request delayed."""
    host, port = target.removeprefix("http://").split(":")
    counts = {"requests": 0, "bytes": 0}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        due, answered = 0.0, True
        try:
            server_reader, server_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return

        async def requests() -> None:
            nonlocal due, answered
            while data := await reader.read(PIECE):
                if answered and data.startswith(COUNTS):
                    body = json.dumps(counts).encode()
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    writer.write(head + body)
                    continue
                if answered:
                    answered, due = False, clock() + delay_s
                    counts["requests"] += 1
                server_writer.write(data)
                await server_writer.drain()

        async def answers() -> None:
            nonlocal answered
            while data := await server_reader.read(PIECE):
                if (wait := due - clock()) > 0:
                    await asyncio.sleep(wait)
                answered = True
                counts["bytes"] += len(data)
                writer.write(data)
                await writer.drain()

        tasks = [asyncio.create_task(requests()), asyncio.create_task(answers())]
        with contextlib.suppress(OSError):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        for end in (writer, server_writer):
            end.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=PIECE)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        asyncio.run(proxy(sys.argv[2], float(sys.argv[3])))
