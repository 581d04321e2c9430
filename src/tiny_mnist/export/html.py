"""HTML: one page that runs the network in the browser, without a server or any request.

The check opens the written page in headless Chromium and runs all test images through its own
`predict`.
"""

import base64
import os
import re
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from markupsafe import Markup
from torch import Tensor, nn

from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.pages import jinja_environment
from tiny_mnist.export.folding import FoldedNetwork, fold
from tiny_mnist.export.format import CheckUnavailableError, ExportedFile, Tolerance
from tiny_mnist.models.tiny_cnn import parameter_count

TOLERANCE = Tolerance(log_probs=1e-4, agreement=100.0)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TIMEOUT = 900  # seconds for all test images, on a busy machine
STYLES = ("page.css", "pad.css", "result.css")
SCRIPTS = ("network.js", "mnist_form.js", "pad.js", "page.js")
CHECK = """
<pre id="log-probs"></pre>
<script>
{
  const images = Uint8Array.from(atob("%s"), (letter) => letter.charCodeAt(0));
  const logProbs = [];
  for (let i = 0; i < images.length; i += 784) {
    logProbs.push(...predict(network, images.subarray(i, i + 784)).logProbs);
  }
  document.querySelector("#log-probs").textContent = logProbs.join(" ");
}
</script>
"""


def encode(network: nn.Module, data: LabelledImages, metadata: dict[str, str]) -> ExportedFile:
    """One self-contained page.

    Raises:
        UnsupportedLayerError: the network has another layer than those of `fold`.
    """
    page = render(fold(network, data.info), parameter_count(network), metadata)
    return ExportedFile(page.encode(), run_in_browser, TOLERANCE)


def read_asset(name: str) -> str:
    """The text of a style sheet, script or piece of HTML of the page."""
    return (files("tiny_mnist.export") / "page" / name).read_text(encoding="utf-8")


def render(folded: FoldedNetwork, parameters: int, metadata: dict[str, str]) -> str:
    """The page of a network."""
    convs = [
        {
            "side": side,
            "channels": conv.weight.shape[1],
            "filters": conv.weight.shape[0],
            "kernel": conv.kernel,
            "pool": conv.pool,
            "output": conv.output_side(side),
        }
        for conv, side in zip(folded.convs, folded.sides, strict=False)
    ]
    # The page has channels innermost, PyTorch outermost.
    tensors = [t for conv in folded.convs for t in (conv.weight.permute(0, 2, 3, 1), conv.bias)]
    numbers = [t.flatten() for t in (*tensors, folded.channels_last_weight(), folded.bias)]
    weights = torch.cat(numbers).numpy().astype("<f4").tobytes()
    pages = jinja_environment("tiny_mnist.export", "page", trim_blocks=True, lstrip_blocks=True)
    return pages.get_template("page.html.jinja").render(
        network={
            "convs": convs,
            "features": folded.weight.shape[1],
            "weights": base64.b64encode(weights).decode(),
        },
        parameters=parameters,
        metadata=list(metadata.items()),
        css=Markup("\n".join(read_asset(name) for name in STYLES)),
        pad=Markup(read_asset("pad.html")),
        script=Markup("\n".join(read_asset(name) for name in SCRIPTS)),
    )


def run_in_browser(path: Path, images: UInt8[Tensor, "n 28 28"]) -> Float[Tensor, "n 10"]:
    """Log-probabilities of a written page for raw images, in headless Chromium.

    Raises:
        CheckUnavailableError: there is no Chromium, or it does not run here.
        UserError: the page fails.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise CheckUnavailableError("there is no Chromium on this machine")
    with tempfile.TemporaryDirectory() as name:
        page = Path(name) / "check.html"
        content = base64.b64encode(images.numpy().tobytes()).decode()
        page.write_text(path.read_text(encoding="utf-8") + CHECK % content, encoding="utf-8")
        command = [
            browser, "--headless", "--disable-gpu", "--disable-extensions", "--no-first-run",
            f"--user-data-dir={name}/profile", "--dump-dom", page.as_uri(),
        ]  # fmt: skip
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium refuses its sandbox to root
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CheckUnavailableError(f"{browser} does not run: {error}") from error
    dump = done.stdout.decode(errors="replace")
    found = re.search(r'<pre id="log-probs">([^<]*)</pre>', dump)
    if found is None:
        raise CheckUnavailableError(f"{browser} does not show pages on this machine")
    log_probs = np.array(found[1].split(), np.float64)
    if log_probs.size != 10 * len(images):
        raise UserError("the page fails in Chromium: its script stopped")
    return torch.from_numpy(log_probs.reshape(-1, 10).astype(np.float32))
