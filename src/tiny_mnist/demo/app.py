"""A page on this machine to draw digits on, and to look inside the network while it reads them.

Gradio serves the page and carries pictures to Python and answers back; nothing leaves the machine.
"""

import base64
import os
import socket
from collections.abc import Callable
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, UInt8
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy import ndarray
from PIL import Image
from torch import Tensor

from tiny_mnist.data.transforms import normalize
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.report import data_url
from tiny_mnist.export.export import load_safetensors, needs
from tiny_mnist.inference import pretrained
from tiny_mnist.inference.image_io import decode
from tiny_mnist.inference.predictor import in_pytorch, read
from tiny_mnist.models.tiny_cnn import TinyCNN, parameter_count
from tiny_mnist.runs import load_network

if TYPE_CHECKING:
    import gradio

MOST_SHOWN = 10  # digits of one picture
FOLDER = files("tiny_mnist.demo")
ENVIRONMENT = Environment(
    loader=PackageLoader("tiny_mnist.demo", ""), autoescape=True, undefined=StrictUndefined
)


def serve(
    run: Path | None,
    host: str,
    port: int | None,
    print_fn: Callable[[str], None],
    trust: bool = False,
) -> None:
    """Serve the page until the program is interrupted.

    Args:
        run: folder of the run whose network reads; None is the network of the package.
        host: address to listen on.
        port: None takes the first free one from 7860 on.
        print_fn: is told the address of the page.
        trust: whether the run may name classes outside this project.

    Raises:
        UserError: Gradio is not installed, there is no such run, or the address cannot be had.
    """
    stay_local(host)
    with needs("demo", "gradio"):
        from gradio import themes
    network = load_network(run, trust) if run else load_safetensors(pretrained.WEIGHTS)
    check_free(host, port)
    blocks = page(network, f"of {run}" if run else "that comes with tiny-mnist")
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
    )
    print_fn(address)
    blocks.block_thread()


def stay_local(host: str) -> None:
    """Keep Gradio from asking the internet anything, and from asking a proxy for this machine."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), host, "localhost"]))


def check_free(host: str, port: int | None) -> None:
    """See whether an address can be listened on.

    Raises:
        UserError: it cannot.
    """
    try:
        socket.create_server((host, port or 0)).close()
    except OSError as error:
        where = host if port is None else f"{host}, port {port}"
        raise UserError(f"cannot listen on {where}: {error}") from error


def page(network: TinyCNN, origin: str) -> "gradio.Blocks":
    """The page: a sheet to draw on, and what the network makes of it.

    Args:
        network: in evaluation mode.
        origin: which network it is, in words.
    """
    import gradio

    with gradio.Blocks(title="tiny-mnist", analytics_enabled=False) as blocks:
        gradio.HTML(
            f"<h1>Draw a digit</h1>The network {escape(origin)} ({parameter_count(network):,} "
            "parameters) reads it while you draw."
        )
        with gradio.Row():
            with gradio.Column(scale=2, min_width=300):
                sheet = gradio.HTML(
                    "",
                    html_template=(FOLDER / "sheet.html").read_text(),
                    css_template=(FOLDER / "sheet.css").read_text(),
                    js_on_load=(FOLDER / "sheet.js").read_text(),
                    apply_default_css=False,
                    elem_id="sheet",
                )
            with gradio.Column(scale=3, min_width=300):
                answer = gradio.HTML(
                    answer_to("", network),
                    css_template=(FOLDER / "answer.css").read_text(),
                    apply_default_css=False,
                )
        sheet.change(
            lambda picture: answer_to(picture, network),
            sheet,
            answer,
            trigger_mode="always_last",  # what was drawn while it was reading is read at once
            show_progress="hidden",
            api_visibility="private",
        )
    return blocks


def answer_to(picture: str, network: TinyCNN) -> str:
    """What to show for a picture, as HTML.

    Args:
        picture: a `data:` address; empty when there is nothing yet.
        network: in evaluation mode.
    """
    template = ENVIRONMENT.get_template("answer.html")
    if not picture:
        return template.render(answer=None, shown=[])
    content = base64.b64decode(picture.partition(",")[2])
    (answer,) = read([("", lambda: decode(content, "this file"))], in_pytorch(network))
    shown = [
        (
            digit,
            png(torch.from_numpy(digit.image)),
            [([png(tile) for tile in tiles(maps)], maps.shape[-1]) for maps in block_maps],
        )
        for digit in answer.digits[:MOST_SHOWN]
        for block_maps in [feature_maps(network, digit.image)]
    ]
    return template.render(answer=answer, shown=shown)


@torch.inference_mode()
def feature_maps(
    network: TinyCNN, image: UInt8[ndarray, "28 28"]
) -> list[Float[Tensor, "channels side side"]]:
    """What each block makes of an image; not negative, for each ends with a ReLU."""
    features = normalize(torch.from_numpy(image)[None])
    maps = []
    *blocks, _head = network.children()
    for block in blocks:
        features = block(features)
        maps.append(features[0])
    return maps


def tiles(maps: Float[Tensor, "channels side side"]) -> UInt8[Tensor, "channels side side"]:
    """The maps of one block in grey; its strongest value is white."""
    return (255 * maps / maps.max().clamp(min=1e-6)).byte()


def png(image: UInt8[Tensor, "height width"]) -> str:
    """An image as the address of one that lies in the page itself."""
    picture = Image.fromarray(image.numpy())
    return data_url("image/png", lambda file: picture.save(file, "PNG"))
