"""tiny-mnist predict on files that are hostile, huge or oddly named."""

import io
import json
import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from support.pictures import draw_ink, run_predict
from support.program import WAIT
from tiny_mnist.errors import UserError, printable
from tiny_mnist.inference.image_io import (
    USED_SIDE,
    LoadedImage,
    PixelBudget,
    decode,
    decode_file,
    flatten,
    load_pillow,
    read_picture,
    reduce,
)
from tiny_mnist.inference.predictor import predict_images


def draw_seven(side: int, mode: str = "L") -> Image.Image:
    """A dark 7 on white."""
    return Image.fromarray(255 - draw_ink(side, side // 14)).convert(mode)


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    path = tmp_path / "seven.png"
    draw_seven(200).save(path)
    return path


def test_special_and_huge_files_are_refused_without_losing_other_answers(
    tmp_path: Path, seven: Path
) -> None:
    fifo, sparse = tmp_path / "fifo.png", tmp_path / "sparse.png"
    os.mkfifo(fifo)
    with sparse.open("wb") as file:
        file.truncate(200 * 10**9)
    status, out, errors = run_predict(str(fifo), str(sparse), "/dev/zero", str(seven), "--json")
    assert status == 1
    assert [answer["status"] for answer in json.loads(out)] == ["error"] * 3 + ["digit"]
    assert json.loads(out)[3]["text"] == "7"
    lines = errors.splitlines()
    assert len(lines) == 3
    assert "not a regular file" in lines[0]
    assert "MB" in lines[1]
    assert "not a regular file" in lines[2]


@pytest.mark.parametrize("name", ["a[/b].png", "[bold].png", "x\x1b[31m\nred.png", "ünïcode 7.png"])
def test_names_are_shown_as_they_are_without_control_characters(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    draw_seven(100).save(path)
    status, out, errors = run_predict(str(path))
    assert (status, errors) == (0, "")
    shown = "".join(line.split("│")[1].strip() for line in out.splitlines() if "│" in line)
    assert printable(name).replace(" ", "") in shown.replace(" ", "")
    assert "\x1b" not in out


def test_error_messages_hold_no_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "x\x1b[31m\nred.png"
    path.write_text("no picture")
    _, _, errors = run_predict(str(path))
    assert "\x1b" not in errors
    assert len(errors.splitlines()) == 1


def test_prints_no_empty_table_where_no_file_can_be_read(tmp_path: Path) -> None:
    status, out, errors = run_predict(str(tmp_path / "absent.png"))
    assert (status, out) == (1, "")
    assert errors.count("\n") == 1


def test_long_names_are_shown_in_full(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    for name in ("one", "two", "three"):
        draw_seven(60).save(folder / f"{name}.png")
    _, out, _ = run_predict(str(folder))
    text = out.replace("│", "").replace(" ", "").replace("\n", "")
    assert all(f"{name}.png" in text for name in ("one", "two", "three"))
    assert "…" not in out


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "P", "1", "LA", "I;16", "CMYK"])
def test_large_pictures_are_reduced_and_boxes_stay_in_their_pixels(
    tmp_path: Path, mode: str
) -> None:
    side = 2 * USED_SIDE + 100
    picture = draw_seven(side)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 16)
    path = tmp_path / "large.tif"
    (picture if mode == "I;16" else picture.convert(mode)).save(path)
    loaded = read_picture(path)
    assert max(loaded.pixels.shape) < side
    assert loaded.scale == pytest.approx(2, rel=0.01)
    _, out, _ = run_predict(str(path), "--json")
    (answer,) = json.loads(out)
    left, top, right, bottom = (edge / side for edge in answer["box"])
    assert answer["text"] == "7"
    assert (left, top, right, bottom) == pytest.approx((0.3, 0.22, 0.7, 0.8), abs=0.06)


def test_reducing_averages_colours_by_their_opacity() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[::2, ::2] = (200, 100, 50, 255)
    small = np.asarray(reduce(Image.fromarray(pixels), 2))
    assert np.abs(small.astype(int) - (200, 100, 50, 64)).max() <= 3


@pytest.mark.parametrize(("shown", "opposite", "alike"), [(40, 255, 0), (220, 0, 255)])
def test_ink_is_laid_on_a_contrasting_ground_and_a_transparent_rim_is_filled_to_match(
    shown: int, opposite: int, alike: int
) -> None:
    ink = np.full((20, 20, 4), shown, np.uint8)
    ink[..., 3] = 0
    ink[5:15, 9:11, 3] = 255
    assert flatten(ink)[0, 0].tolist() == [opposite] * 3
    assert flatten(ink)[10, 10].tolist() == [shown] * 3
    framed = np.full((50, 50, 4), shown, np.uint8)
    framed[..., 3] = 255
    framed[0, :, 3] = 0
    assert flatten(framed)[0, 0].tolist() == [alike] * 3
    assert flatten(framed)[10, 10].tolist() == [shown] * 3


def test_a_large_photograph_keeps_its_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    draw_seven(3600).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    loaded = read_picture(path)
    expected = np.asarray(draw_seven(loaded.pixels.shape[0]))
    assert np.abs(loaded.pixels[..., 0].astype(int) - expected).mean() < 5


def test_pictures_that_fit_together_are_decoded_at_the_same_time() -> None:
    budget = PixelBudget(100)
    with budget.take(60), budget.take(40):
        assert budget.free == 0
    with budget.take(1000):  # larger than all: alone
        assert budget.free == 0
    assert budget.free == 100


def test_pictures_that_do_not_fit_together_are_decoded_one_after_the_other() -> None:
    budget, begun = PixelBudget(100), threading.Event()

    def decode_second() -> None:
        with budget.take(60):
            begun.set()

    with ThreadPoolExecutor() as pool:
        with budget.take(60):
            second = pool.submit(decode_second)
            assert not begun.wait(0.2)
        second.result(timeout=WAIT)
    assert begun.is_set()


class Paused(io.BytesIO):
    """A file that says when somebody begins to read it, and lets them wait.

    Args:
        content: the bytes of the file.
        begun: an event that the first reading sets.
        go_on: an event that each reading waits for.
    """

    def __init__(self, content: bytes, begun: threading.Event, go_on: threading.Event) -> None:
        super().__init__(content)
        self.begun, self.go_on = begun, go_on

    def read(self, size: int | None = -1) -> bytes:
        """Read as usual, when it is allowed."""
        self.begun.set()
        assert self.go_on.wait(WAIT)
        return super().read(size)


def test_decoding_in_threads_leaves_the_filters_of_warnings_as_they_were(
    seven: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "filters", warnings.filters)  # put back, whatever happens
    before, content = list(warnings.filters), seven.read_bytes()
    first, second, first_done = threading.Event(), threading.Event(), threading.Event()

    def decode_paused(begun: threading.Event, go_on: threading.Event) -> None:
        decode_file(Paused(content, begun, go_on), len(content), "seven.png")

    with ThreadPoolExecutor() as pool:
        one = pool.submit(decode_paused, first, second)
        assert first.wait(WAIT)
        other = pool.submit(decode_paused, second, first_done)
        one.result(timeout=WAIT)
        first_done.set()
        other.result(timeout=WAIT)
    assert warnings.filters == before


def test_odd_metadata_are_no_warning() -> None:
    def load() -> LoadedImage:
        warnings.warn_explicit("Corrupt EXIF data", UserWarning, "x", 1, "PIL.TiffImagePlugin")
        return LoadedImage(np.full((50, 50, 3), 255, np.uint8))

    (prediction,) = predict_images([("odd.jpg", load)], lambda images: np.zeros((0, 10)))
    assert prediction.status == "no digit"


def test_refuses_more_pixels_than_the_limit() -> None:
    with pytest.raises(UserError, match="pixels"):
        load_pillow(Image.new("1", (20_000, 20_000)), "bomb")


def test_says_that_standard_input_is_closed() -> None:
    code = "import sys; sys.stdin = None; from tiny_mnist.cli import app; app(['predict', '-'])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "standard input" in result.stderr


@pytest.mark.slow
def test_memory_is_bounded_for_huge_pictures(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (10_000, 10_000), "white")
    ImageDraw.Draw(picture).line([(3000, 2500), (6700, 2500), (4500, 7700)], "black", 700)
    for number in range(3):
        picture.save(tmp_path / f"{number}.png", compress_level=1)
    code = (  # VmHWM, not getrusage: that starts at the memory of the process that started it
        "from tiny_mnist.cli import app\n"
        f"try: app(['predict', '--json', {str(tmp_path)!r}])\n"
        "except SystemExit as end: assert not end.code\n"
        "status = open('/proc/self/status').read()\n"
        "print(int(status.split('VmHWM:')[1].split()[0]) // 1024)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    *answers, mebibytes = result.stdout.rsplit("\n", 2)[:2]
    assert [answer["text"] for answer in json.loads(answers[0])] == ["7"] * 3
    assert int(mebibytes) < 1000


def test_bytes_that_are_no_picture_are_named_in_one_line() -> None:
    with pytest.raises(UserError, match="not a picture"):
        decode(b"text", "note.png")
