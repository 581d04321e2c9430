"""Files from mirrors: complete and verified, or not there at all."""

import contextlib
import gzip
import socket
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from torchvision import datasets

from support.mirrors import (
    FOUR,
    LABELS,
    NOT_FOUND,
    OK,
    TEST_LABELS,
    THREE,
    TRAIN_LABELS,
    Mirror,
    corrupted,
    names,
    same,
)
from tiny_mnist.data import LabelledImages, load_dataset, sources
from tiny_mnist.errors import DataError

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


def test_empty_folder_is_filled_from_a_mirror(
    tmp_path: Path, good_mirror: Callable[[], Mirror], mnist: LabelledImages
) -> None:
    good_mirror()
    folder = tmp_path / "mnist"
    folder.mkdir()
    assert same(load_dataset(folder), mnist)
    assert names(folder) == FOUR
    assert same(load_dataset(folder), mnist)


def test_only_missing_files_are_fetched(
    root: Path, good_mirror: Callable[[], Mirror], mnist: LabelledImages
) -> None:
    mirror, spare = good_mirror(), good_mirror()
    assert same(load_dataset(root), mnist)
    assert mirror.asked == [TEST_LABELS.name]
    assert spare.asked == []


def test_files_are_fetched_from_different_mirrors(
    root: Path, new_mirror: Callable[[], Mirror], packed: dict[str, bytes], mnist: LabelledImages
) -> None:
    (root / TRAIN_LABELS.name).unlink()
    for file in (TRAIN_LABELS, TEST_LABELS):
        new_mirror().answers[file.name] = [OK, packed[file.name]]
    assert same(load_dataset(root), mnist)


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
        load_dataset(root)
    assert names(root) == THREE
    good_mirror()
    assert same(load_dataset(root), mnist)
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
        load_dataset(root)
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
        assert same(load_dataset(root), mnist)


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
    assert same(load_dataset(root), mnist)
    assert slow.sent < len(content), "given up before its end"
    assert names(root) == FOUR


def test_interrupted_download_leaves_no_file(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield LABELS[:100]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sources.install(tmp_path, TEST_LABELS, pieces())
    assert names(tmp_path) == set()


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
        from tiny_mnist.data import load_dataset
        MNIST.mirrors = [{mirror.url!r}]
        print("ready", flush=True)
        input()
        print(len(load_dataset(Path({str(folder)!r})).train_labels))
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
