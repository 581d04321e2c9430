"""The page of tiny-mnist demo, drawn on in a real browser."""

import base64
import io
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from support.number_pictures import draw_number
from support.pictures import draw_ink
from support.strokes import STROKES, draw, paste_zero
from tiny_mnist.cli import app
from tiny_mnist.demo.app import feature_maps, load_shipped_network, render_result
from tiny_mnist.demo.request_guard import RequestGuard, check_request

pytest.importorskip("gradio", reason="the demo needs Gradio")

PATIENCE = 120  # seconds, on a busy machine
SCREENSHOT = os.environ.get("DEMO_SCREENSHOT")
"""Where to save a picture of the page, for the README."""

CONNECTIONS = """
import sys

def watch(event, arguments):
    if event == "socket.connect":
        print("connect", arguments[1], file=sys.stderr, flush=True)
    elif event == "socket.getaddrinfo":
        print("connect", arguments[:2], file=sys.stderr, flush=True)

sys.addaudithook(watch)
from tiny_mnist.cli import app
app(["demo"])
"""
"""The command, telling whom it asks."""


def test_shows_what_each_block_makes_of_the_digit() -> None:
    network = load_shipped_network()
    maps = feature_maps(network, np.zeros((28, 28), np.uint8))
    assert [tuple(block.shape) for block in maps] == [(16, 12, 12), (16, 4, 4), (16, 1, 1)]
    assert all((block >= 0).all() for block in maps)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("data:image/png;base64,", "This file is empty"),
        ("data:image/png;base64,bm8=", "This file is not a picture"),
        ("data:,abc", "This file is not a picture"),
        ("data:image/png;base64,%%%", "This file is not a picture"),
        ("abc", "This file is not a picture"),
        (["abc"], "This file is not a picture"),
        ({"path": "abc"}, "This file is not a picture"),
        (7, "This file is not a picture"),
    ],
)
def test_address_that_is_no_picture_is_answered_with_one_line(address: Any, says: str) -> None:
    result = render_result(address, load_shipped_network())
    assert says in result
    assert "<section>" not in result


def data_url(ink: np.ndarray) -> str:
    """A grey picture as the page sends it."""
    file = io.BytesIO()
    Image.fromarray(ink).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_shows_the_rows_of_a_number_and_details_of_the_first_digits() -> None:
    rows = [draw_number("327042") for _ in range(2)]
    result = render_result(data_url(np.concatenate(rows)), load_shipped_network())
    assert '<p class="number">327042\n327042</p>' in result
    assert "12 digits; probability that all are right: " in result
    assert "the first 10 below" in result
    assert result.count("<section>") == 10


def test_says_one_digit_to_a_screen_reader() -> None:
    result = render_result(data_url(draw_number("3")), load_shipped_network())
    live, _, rest = result.partition("</div>")
    assert 'aria-live="polite"' in live
    assert '<p class="spoken">3</p>' in live
    assert rest.count("<section>") == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--run", "nowhere"], "error: nowhere is no run folder"),
        (["--host", "192.0.2.1"], "error: cannot listen on 192.0.2.1"),
        (["--host", "::1"], "error: cannot listen on ::1"),
    ],
)
def test_a_mistake_gets_one_line(options: list[str], says: str) -> None:
    done = CliRunner().invoke(app, ["demo", *options])
    assert done.exit_code == 1
    (line,) = done.output.splitlines()
    assert line.startswith(says)


def test_a_port_that_is_taken_gets_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(app, ["demo", "--port", str(port)])
    assert done.exit_code == 1
    (line,) = done.output.splitlines()
    assert line.startswith(f"error: cannot listen on 127.0.0.1, port {port}: ")


def test_without_gradio_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    done = CliRunner().invoke(app, ["demo"])
    assert done.exit_code == 1
    assert done.output == "error: tiny-mnist demo needs gradio: pip install 'tiny-mnist[demo]'\n"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page, served by the real command behind a proxy that is not there."""
    log = tmp_path_factory.mktemp("demo") / "stderr"
    temporary = tmp_path_factory.mktemp("temporary")
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-c", CONNECTIONS],
            stdout=subprocess.PIPE, stderr=errors, text=True,
            env={
                **os.environ,
                "HTTP_PROXY": "http://127.0.0.1:9",
                "PYTHONUNBUFFERED": "1",
                "TMPDIR": str(temporary),
            },
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("Open http://127.0.0.1:"), said + log.read_text()
        yield said.split()[1]
        process.terminate()
    asked = [line for line in log.read_text().splitlines() if line.startswith("connect")]
    assert asked, "Gradio asks itself whether it is there"
    assert [line for line in asked if "127.0.0.1" not in line and "localhost" not in line] == []
    assert "Traceback" not in log.read_text()
    assert list(temporary.iterdir()) == []


@pytest.fixture
def browser(demo: str) -> Iterator[Any]:
    """The page in a browser that asks nobody else for anything."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        program = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = program.new_page(viewport={"width": 1180, "height": 640})
        tab.set_default_timeout(1000 * PATIENCE)
        playwright.expect.set_options(timeout=1000 * PATIENCE)
        asked: list[str] = []
        said: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(demo)
        tab.locator("canvas").wait_for()
        yield tab
        program.close()
    hosts = {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {"127.0.0.1"}
    assert said == []


def expect_digits(page: Any, *digits: int) -> None:
    """Wait until the page says these."""
    from playwright.sync_api import expect

    expect(page.locator(".digit")).to_have_text([str(digit) for digit in digits])


def settle(page: Any) -> None:
    """Wait until the page shows the result for all that is on the pad."""
    from playwright.sync_api import expect

    picture = page.evaluate("document.querySelector('canvas').toDataURL()")
    result = render_result(picture, load_shipped_network())
    for place, seen in enumerate(re.findall(r'class="seen">\s*<img src="([^"]+)"', result)):
        expect(page.locator(".seen img").nth(place)).to_have_attribute("src", seen)


def clear(page: Any) -> None:
    """Clear the pad."""
    page.get_by_role("button", name="Clear").click()
    expect_digits(page)


def send(
    address: str, method: str, path: str, headers: dict[str, str], body: bytes = b""
) -> tuple[int, str]:
    """Status and body of the answer to a request with these headers."""
    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    try:
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()


MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nstored\r\n--x--\r\n"
)


@pytest.mark.slow
def test_server_refuses_other_origins_hosts_and_uploads(demo: str) -> None:
    own = urlsplit(demo).netloc
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    upload = "/gradio_api/upload"
    assert send(demo, "GET", "/", {})[0] == 200
    assert send(demo, "GET", "/", {"Origin": f"http://{own}"})[0] == 200
    for origin in ("https://example.org", "null", f"https://{own}.example.org"):
        assert send(demo, "POST", upload, {**kind, "Origin": origin}, MULTIPART)[0] == 403
        assert send(demo, "GET", "/config", {"Origin": origin})[0] == 403
    for host in ("example.org", "example.org:7860", "127.0.0.1.example.org"):
        assert send(demo, "GET", "/config", {"Host": host})[0] == 403
    assert send(demo, "POST", upload, kind, MULTIPART) == (403, "Files cannot be uploaded.")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {"host": "127.0.0.1:7860"}, None),
        ("GET", "/", {"host": "LOCALHOST"}, None),
        ("GET", "/", {"host": "[::1]:7860", "origin": "http://[::1]:7860"}, None),
        ("GET", "/", {"host": "192.0.2.7:80"}, None),
        ("GET", "/", {}, 403),
        ("GET", "/", {"host": "[::1"}, 403),
        ("GET", "/", {"host": "localhost.example.org"}, 403),
        ("GET", "/", {"host": "localhost:1", "origin": "http://localhost:2"}, 403),
        ("GET", "/", {"host": "localhost:1", "origin": "http://[bad"}, 403),
        ("POST", "/a", {"host": "localhost", "content-length": "10"}, None),
        ("POST", "/a", {"host": "localhost"}, 411),
        ("POST", "/a", {"host": "localhost", "content-length": "-1"}, 411),
        ("POST", "/a", {"host": "localhost", "content-length": str(2**30)}, 413),
        ("POST", "/gradio_api/upload/", {"host": "localhost", "content-length": "1"}, 403),
    ],
)
def test_requests_are_refused_by_their_headers(
    method: str, path: str, headers: dict[str, str], status: int | None
) -> None:
    refusal = check_request(method, path, headers)
    assert (refusal and refusal[0]) == status


def test_the_page_answers_under_the_name_that_it_is_served_under() -> None:
    headers = {"host": "box.example.org:7860"}
    assert check_request("GET", "/", headers)
    guard = RequestGuard(lambda *_: None, host="Box.example.org")
    assert check_request("GET", "/", headers, guard.names) is None


@pytest.mark.slow
def test_only_some_pictures_wait_for_their_turn() -> None:
    code = (  # in a process of its own: Gradio leaves an event loop open
        "from tiny_mnist.demo.app import build_page, load_shipped_network\n"
        "print(build_page(load_shipped_network(), '')._queue.max_size)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "16\n"


def test_network_that_is_no_sequence_is_read_without_feature_maps() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = load_shipped_network()

        def forward(self, images: Tensor) -> Tensor:
            return self.network(images)

    assert feature_maps(Wrapped(), np.zeros((28, 28), np.uint8)) == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 720, 860, 1180])
def test_page_fits_every_width(browser: Any, width: int) -> None:
    browser.set_viewport_size({"width": width, "height": 900})
    draw(browser, STROKES[7])
    settle(browser)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    for place in (".seen", ".probabilities", ".maps >> nth=0"):
        box = browser.locator(place).bounding_box()
        assert box["x"] + box["width"] <= width
    if SCREENSHOT:
        browser.screenshot(path=f"{SCREENSHOT}-{width}.png")


@pytest.mark.slow
def test_reads_what_is_drawn_with_the_mouse(browser: Any) -> None:
    for digit, strokes in STROKES.items():
        draw(browser, strokes)
        settle(browser)
        expect_digits(browser, digit)
        probabilities = browser.locator(".probabilities li").all_inner_texts()
        percent = [float(text.split()[1]) for text in probabilities]
        assert len(percent) == 10
        assert abs(sum(percent) - 100) < 0.6
        assert max(range(10), key=percent.__getitem__) == digit
        maps = [row.locator("img").count() for row in browser.locator(".maps").all()]
        assert maps == [16, 16, 16]
        if SCREENSHOT and digit == 4:
            browser.screenshot(path=f"{SCREENSHOT}.png")
        clear(browser)


@pytest.mark.slow
def test_answers_while_the_pen_is_down(browser: Any) -> None:
    from playwright.sync_api import expect

    box = browser.locator("canvas").bounding_box()
    browser.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.2 * box["height"])
    browser.mouse.down()
    browser.mouse.move(box["x"] + 0.48 * box["width"], box["y"] + 0.8 * box["height"], steps=20)
    expect_digits(browser, 1)
    seen = browser.locator(".seen img")
    before = seen.get_attribute("src")
    browser.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.8 * box["height"], steps=20)
    expect(seen).not_to_have_attribute("src", before)
    browser.mouse.up()


@pytest.mark.slow
def test_shows_the_number_of_several_digits(browser: Any) -> None:
    draw(browser, STROKES[7], width=0.5)
    draw(browser, STROKES[0], width=0.5, left=0.5)
    settle(browser)
    expect_digits(browser, 7, 0)
    assert browser.locator(".message").inner_text().startswith("2 digits; ")
    assert browser.locator(".number").inner_text() == "70"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jpg", "tif"])  # which a browser shows, and does not show
def test_reads_a_photo(browser: Any, tmp_path: Path, kind: str) -> None:
    paper = np.full((900, 1200, 3), (225, 220, 205), np.uint8)
    paper[150:750, 300:900][draw_ink(600, 24) > 127] = (40, 45, 90)
    shade = np.linspace(1, 0.6, 1200)[None, :, None]
    photo = tmp_path / f"photo.{kind}"
    Image.fromarray((paper * shade).astype(np.uint8)).save(photo)
    browser.locator("#pad input").set_input_files(photo)
    expect_digits(browser, 7)
    draw(browser, STROKES[1])  # on a cleared pad
    expect_digits(browser, 1)


@pytest.mark.slow
def test_reads_a_pasted_picture(browser: Any) -> None:
    paste_zero(browser)
    expect_digits(browser, 0)
