"""Servers of this machine that deliver MNIST, and files that are not what they should be."""

import contextlib
import threading
import zlib
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tiny_mnist.data import MNIST, LabelledImages

TEST_LABELS, TRAIN_LABELS = MNIST.test_labels, MNIST.train_labels
LABELS = bytes(TEST_LABELS.size)
"""A file of the right size only."""
FOUR = {file.name for file in MNIST.files}
THREE = FOUR - {TEST_LABELS.name}
OK = b"HTTP/1.0 200 OK\r\n\r\n"
NOT_FOUND = b"HTTP/1.0 404 Not Found\r\n\r\n"
INVALID_DEFLATE = b"\xff" * 100


class Mirror:
    """A web server that sends given bytes and counts them.

    `answers` holds complete HTTP responses by file name; other files are not found.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Iterable[bytes]] = {}
        self.asked: list[str] = []
        self.sent = 0
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/").removesuffix(".gz")
                mirror.asked.append(name)
                with contextlib.suppress(ConnectionError):  # the client closes early
                    for part in mirror.answers.get(name, [NOT_FOUND]):
                        self.wfile.write(part)
                        mirror.sent += len(part)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False  # so that closing waits for all connections
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=[0.02])
        self.thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def corrupted(content: bytes) -> bytes:
    """A gzip stream with invalid data after `content`."""
    stream = zlib.compressobj(wbits=31)
    return stream.compress(content) + stream.flush(zlib.Z_FULL_FLUSH) + INVALID_DEFLATE


def same(one: LabelledImages, other: LabelledImages) -> bool:
    return all(a.equal(b) for a, b in zip(one[:4], other[:4], strict=True))


def names(folder: Path) -> set[str]:
    """The files in a folder, without the lock."""
    return {path.name for path in folder.iterdir()} - {".lock"}
