"""A page on this machine to draw digits on, and to look inside the network while it reads them.

Gradio serves the page and carries pictures to Python and results back; nothing leaves the machine.
"""

import base64
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn

from tiny_mnist.data.datasets import MNIST
from tiny_mnist.data.transforms import normalize
from tiny_mnist.demo.request_guard import RequestGuard
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.pages import jinja_environment, png_url
from tiny_mnist.export.html import read_asset
from tiny_mnist.export.safetensors_format import load_tiny_cnn
from tiny_mnist.inference import pretrained
from tiny_mnist.inference.image_io import decode
from tiny_mnist.inference.predictor import load_digit_network, module_network, predict_images
from tiny_mnist.models.tiny_cnn import TinyCNN, parameter_count

if TYPE_CHECKING:
    import gradio

MAX_SHOWN_DIGITS = 10  # digits of one picture whose details are shown
MAX_WAITING = 16  # pictures that wait for their turn; more are refused
FIRST_PORT, NUM_PORTS = 7860, 100  # the ports that Gradio tries
FOLDER = files("tiny_mnist.demo")
TEMPLATES = jinja_environment("tiny_mnist.demo")


def serve(
    run: Path | None,
    host: str,
    port: int | None,
    print_fn: Callable[[str], None],
    trust: bool = False,
) -> None:
    """Serve the page until the program is interrupted or terminated.

    Args:
        run: folder of the run whose network is used; None is the network of the package.
        host: address to listen on.
        port: None takes the first free one from 7860 on.
        print_fn: is called with the address of the page.
        trust: whether the run may name classes other than this package's listed ones,
            `torch.optim`'s, and Lightning's Trainer, callbacks and loggers; their code is run.

    Raises:
        UserError: there is no such run, its network does not read digits, or the address is not
            available.
    """
    network = load_digit_network(run, trust) if run else load_shipped_network()
    with tempfile.TemporaryDirectory(prefix="tiny-mnist-demo-") as folder:
        configure_environment(host, folder)
        from gradio import themes
        from starlette.middleware import Middleware

        check_free(host, port)
        blocks = build_page(network, f"of {run}" if run else "that comes with tiny-mnist")
        try:
            _, address, _ = blocks.launch(
                server_name=host,
                server_port=port,
                theme=themes.Default(font=("system-ui", "sans-serif"), font_mono="monospace"),
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                footer_links=[],
                run_history=False,  # the browser would keep every stroke
                enable_monitoring=False,
                ssr_mode=False,
                mcp_server=False,
                max_file_size="20mb",
                app_kwargs={"middleware": [Middleware(RequestGuard, host=host)]},
            )
        except OSError as error:
            last = FIRST_PORT + NUM_PORTS - 1
            wanted = f"port {port}" if port else f"any port from {FIRST_PORT} to {last}"
            raise UserError(f"cannot listen on {wanted}; give a free one with --port") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as by Ctrl+C
        print_fn(address)
        blocks.block_thread()


def load_shipped_network() -> TinyCNN:
    """The network that comes with the package, in PyTorch and evaluation mode."""
    return load_tiny_cnn(pretrained.WEIGHTS)


def configure_environment(host: str, folder: str) -> None:
    """Set what Gradio reads when it is imported.

    It must not ask the internet anything, nor a proxy for this machine, and its temporary files
    belong into a folder that is removed in the end.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = folder
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), host, "localhost"]))


def check_free(host: str, port: int | None) -> None:
    """Check that an address can be listened on.

    Raises:
        UserError: it cannot.
    """
    try:
        socket.create_server((host, port or 0)).close()
    except OSError as error:
        where = host if port is None else f"{host}, port {port}"
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        hint = "" if port is None else "; give a free one with --port"
        raise UserError(f"cannot listen on {where}: {reason}{hint}") from error


def build_page(network: nn.Module, origin: str) -> "gradio.Blocks":
    """The page: a pad to draw on, and what the network computes from it.

    Args:
        network: a network in evaluation mode.
        origin: which network it is, in words.
    """
    import gradio

    theme = (FOLDER / "theme.css").read_text()
    with gradio.Blocks(title="tiny-mnist", analytics_enabled=False) as blocks:
        gradio.HTML(
            f"<h1>Draw a digit</h1>The network {escape(origin)} ({parameter_count(network):,} "
            "parameters) reads it while you draw."
        )
        with gradio.Row():
            with gradio.Column(scale=2, min_width=300):
                pad = gradio.HTML(
                    "",
                    html_template=read_asset("pad.html"),
                    css_template=theme + read_asset("pad.css"),
                    js_on_load=read_asset("pad.js") + (FOLDER / "pad_value.js").read_text(),
                    apply_default_css=False,
                    elem_id="pad",
                )
            with gradio.Column(scale=3, min_width=300):
                result = gradio.HTML(
                    render_result("", network),
                    css_template=theme
                    + read_asset("result.css")
                    + (FOLDER / "answer.css").read_text(),
                    apply_default_css=False,
                )
        pad.change(
            lambda picture: render_result(picture, network),
            pad,
            result,
            trigger_mode="always_last",  # what is drawn meanwhile is sent as soon as this is done
            show_progress="hidden",
            api_visibility="private",
        )
    return blocks.queue(max_size=MAX_WAITING)


def render_result(picture: object, network: nn.Module) -> str:
    """What to show for a picture, as HTML.

    Args:
        picture: a `data:` address; empty when there is nothing yet. Another program may send
            anything else, which is answered as what is no picture.
        network: a network in evaluation mode.
    """
    template = TEMPLATES.get_template("result.html")
    if not picture:
        return template.render(prediction=None, shown=[])
    source = "", lambda: decode(data_content(picture), "this file")
    (prediction,) = predict_images([source], module_network(network))
    shown = [
        (
            digit,
            png_url(torch.from_numpy(digit.image)),
            [([png_url(grey) for grey in to_grey(maps)], maps.shape[-1]) for maps in block_maps],
        )
        for digit in prediction.digits[:MAX_SHOWN_DIGITS]
        for block_maps in [feature_maps(network, digit.image)]
    ]
    return template.render(prediction=prediction, shown=shown)


def data_content(address: object) -> bytes:
    """The bytes of a base64 `data:` address.

    Raises:
        UserError: it is none.
    """
    if not isinstance(address, str):  # sent by something other than the page
        raise UserError("this file is not a picture")
    head, _, content = address.partition(",")
    try:
        if not (head.startswith("data:") and head.endswith(";base64")):
            raise ValueError("not a data: address in base64")
        return base64.b64decode(content, validate=True)
    except ValueError as error:
        raise UserError("this file is not a picture") from error


@torch.inference_mode()
def feature_maps(
    network: nn.Module, image: UInt8[ndarray, "28 28"]
) -> list[Float[Tensor, "channels side side"]]:
    """The output of each block of a sequence of blocks, as long as it consists of images.

    Returns:
        One tensor a block; none for a network that is not a sequence.
    """
    maps: list[Tensor] = []
    if not isinstance(network, nn.Sequential):
        return maps
    features = normalize(torch.from_numpy(image)[None], MNIST.info)
    for block in network.children():
        features = block(features)
        if features.ndim != 4:
            break
        maps.append(features[0])
    return maps


def to_grey(maps: Float[Tensor, "channels side side"]) -> UInt8[Tensor, "channels side side"]:
    """The maps of one block in grey: negative values are black, the largest is white."""
    return (255 * maps.clamp(min=0) / maps.max().clamp(min=1e-6)).byte()
