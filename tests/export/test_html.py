"""The exported page in a real browser."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from support.program import PROJECT
from support.strokes import STROKES, draw, paste_zero
from tiny_mnist.data.datasets import MNIST
from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.errors import UserError
from tiny_mnist.export import html
from tiny_mnist.export.export import FORMATS, Comparison, export
from tiny_mnist.export.folding import fold
from tiny_mnist.export.safetensors_format import load_tiny_cnn
from tiny_mnist.inference import pretrained
from tiny_mnist.models.tiny_cnn import TinyCNN

DEMO = PROJECT / "docs" / "demo.html"
needs_browser = pytest.mark.skipif(
    not any(map(shutil.which, html.BROWSERS)), reason="there is no Chromium on this machine"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    path = next(filter(None, map(shutil.which, html.BROWSERS)), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        program = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield program
        program.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """The committed demo, opened as a file; it must ask nobody for anything, and log no error."""
    tab = browser.new_page(viewport={"width": 1180, "height": 800})
    tab.set_default_timeout(120_000)
    requests: list[str] = []
    errors: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(DEMO.as_uri())
    yield tab
    tab.close()
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert errors == []


def expect_digit(page: Any, digit: str) -> None:
    """Wait until the page shows a digit."""
    from playwright.sync_api import expect

    expect(page.locator(".digit")).to_have_text(digit, timeout=60_000)


@needs_browser
def test_exported_page_is_checked_in_the_browser(mnist: LabelledImages, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = TinyCNN(width=3).eval()
    small = LabelledImages(*mnist[:2], mnist.test_images[:50], mnist.test_labels[:50], mnist.info)
    result = export(network, tmp_path / "page.html", small, {}, FORMATS["html"])
    assert isinstance(result, Comparison)
    assert result.agreement == 100
    assert result.largest_difference <= 1e-4


@needs_browser
def test_page_whose_script_fails_is_an_error(mnist: LabelledImages, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    text = html.render(fold(load_tiny_cnn(pretrained.WEIGHTS), MNIST.info), 9594, {})
    path.write_text(text.replace("const logits =", "const logits = missing ??"))
    with pytest.raises(UserError, match="the page fails in Chromium"):
        html.run_in_browser(path, mnist.test_images[:2])


def test_metadata_cannot_add_markup_to_the_page() -> None:
    folded = fold(TinyCNN(width=1).eval(), MNIST.info)
    text = html.render(folded, 1, {"run": "</script><img src=x onerror=alert(1)>"})
    assert "<img" not in text


def test_demo_page_in_docs_is_that_of_the_shipped_network() -> None:
    card = json.loads(pretrained.CARD.read_text())
    metadata = {key: str(value) for key, value in card.items()}
    metadata["test_accuracy"] = f"{card['test_accuracy']:.2f} %"
    network = load_tiny_cnn(pretrained.WEIGHTS)
    assert DEMO.stat().st_size <= 120_000
    # Committed files are equal where folding gives equal bits; weights differ in the last ones.
    fresh = html.render(fold(network, MNIST.info), 9594, metadata)
    weights = re.compile(r'"weights": "[^"]*"')
    assert weights.sub("", fresh) == weights.sub("", DEMO.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_page_reads_what_is_drawn_and_shows_how(page: Any) -> None:
    for digit, strokes in STROKES.items():
        draw(page, strokes)
        expect_digit(page, str(digit))
        texts = page.locator(".probabilities li").all_inner_texts()
        percent = [float(text.split()[1]) for text in texts]
        assert max(range(10), key=percent.__getitem__) == digit
        assert abs(sum(percent) - 100) < 0.6
        page.get_by_role("button", name="Clear").click()
        expect_digit(page, "–")
    assert [row.locator("canvas").count() for row in page.locator(".maps").all()] == [8] + 5 * [16]


@pytest.mark.slow
def test_page_can_be_drawn_on_with_the_keyboard(page: Any) -> None:
    page.locator("#pad canvas").focus()
    page.keyboard.press(" ")
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    expect_digit(page, "1")
    page.keyboard.press("Delete")
    expect_digit(page, "–")


@pytest.mark.slow
def test_page_opens_pastes_and_reads_images_of_mnist(
    page: Any, mnist: LabelledImages, tmp_path: Path
) -> None:
    for index in range(5):
        path = tmp_path / f"{index}.png"
        Image.fromarray(mnist.test_images[index].numpy()).save(path)
        page.locator("#pad input").set_input_files(path)
        expect_digit(page, str(int(mnist.test_labels[index])))
    paste_zero(page)
    expect_digit(page, "0")


@pytest.mark.slow
def test_page_says_that_it_cannot_show_a_file_and_reads_nothing_in_it(
    page: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    photo, message = tmp_path / "seven.tif", page.locator(".message")
    Image.new("L", (60, 60), 255).save(photo)
    draw(page, STROKES[1])
    expect_digit(page, "1")
    page.locator("#pad input").set_input_files(photo)
    expect(message).to_have_text("This browser cannot show seven.tif.")
    assert page.locator(".digit").inner_text() == "–"
    assert set(page.locator(".probabilities li > :last-child").all_inner_texts()) == {"–"}
    draw(page, STROKES[1])
    expect_digit(page, "1")
    expect(message).to_have_text("")


@pytest.mark.slow
def test_page_centres_and_scales_as_mnist_does(page: Any) -> None:
    draw(page, STROKES[7], width=0.4)
    expect_digit(page, "7")
    seen = page.evaluate(
        """() => {
            const pad = document.querySelector("#pad canvas");
            const ink = pad.getContext("2d");
            return [...toMnistForm(ink.getImageData(0, 0, pad.width, pad.height))];
        }"""
    )
    image = np.array(seen).reshape(28, 28)
    rows, columns = np.nonzero(image > 127)
    assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
    weights = image / image.sum()
    assert abs((weights.sum(axis=1) @ np.arange(28)) - 14) < 0.3
    assert abs((weights.sum(axis=0) @ np.arange(28)) - 14) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("size", [(390, 844), (800, 900), (1280, 800)])
def test_page_fits_every_width(page: Any, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    box = page.locator("#pad canvas").bounding_box()
    assert box["width"] >= 280
    assert page.locator(".digit").bounding_box()["y"] < size[1]
