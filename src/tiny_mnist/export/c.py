"""C99: the network in integer arithmetic, for microcontrollers and programs without libraries.

The numbers are those of the ONNX int8 file, read out of its graph; the check compiles the file with
sanitizers and runs it on all test images.
"""

import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.pages import jinja_environment
from tiny_mnist.export.folding import FoldedNetwork, fold
from tiny_mnist.export.format import CheckUnavailableError, ExportedFile, Tolerance
from tiny_mnist.export.onnx_format import INPUT, predict_onnx, to_onnx
from tiny_mnist.export.quantization import quantize

if TYPE_CHECKING:
    import onnx

TOLERANCE = Tolerance(agreement=99.9, accuracy=0.05)
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror")
SANITIZERS = ("-fsanitize=undefined,address", "-fno-sanitize-recover=all")
MAX_INT32 = 2**31 - 1
LINE_WIDTH = 96  # characters of a line of numbers
CONVOLUTION_BYTES = 36  # size of the struct Convolution where an int and a pointer have 4 bytes


@dataclass(frozen=True)
class QuantizedConv:
    """One convolution as integers, with the names of the C file."""

    side: int
    channels: int
    filters: int
    kernel: int
    pool: int
    weights: list[int]
    bias: list[int]
    scale: list[int]
    shift: int

    @property
    def outputs(self) -> int:
        """Number of output values."""
        return ((self.side - self.kernel + 1) // self.pool) ** 2 * self.filters


def encode(network: nn.Module, data: LabelledImages, metadata: dict[str, str]) -> ExportedFile:
    """One C file, checked against the ONNX int8 file.

    Raises:
        UnsupportedLayerError: the network has another layer than those of `fold`.
    """
    folded = fold(network, data.info)
    model = quantize(to_onnx(network, {}, data.info), INPUT, data.train_images)
    content, logit_scale = render(folded, model, metadata)

    def read_back(path: Path, images: UInt8[Tensor, "n 28 28"]) -> Float[Tensor, "n 10"]:
        logits = run_c(path, images, "-O2", *SANITIZERS).double()
        return (logits * logit_scale).log_softmax(dim=1).float()

    reference = predict_onnx(model.SerializeToString(), data.test_images)
    return ExportedFile(content.encode(), read_back, TOLERANCE, reference, "the ONNX int8 file")


def render(
    folded: FoldedNetwork, model: "onnx.ModelProto", metadata: dict[str, str]
) -> tuple[str, float]:
    """The C source, and the scale of its logits."""
    convs, output_scale = read_convs(folded, model)
    weight = folded.channels_last_weight().double()
    bias = folded.bias.double() / output_scale
    # 16 bits, and no sum of 255 × weight that overflows 32.
    steps = 32767 / float(weight.abs().max())
    room = float((255 * weight.abs().sum(dim=1) + bias.abs()).max())
    steps = min(steps, (MAX_INT32 - 255 * weight.shape[1]) / room)
    linear_weights = (weight * steps).round().long().tolist()
    linear_bias = (bias * steps).round().long().tolist()
    logit_scale = output_scale / steps
    templates = jinja_environment(
        "tiny_mnist.export",
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["numbers"] = format_numbers
    buffers = [max(conv.outputs for conv in convs[i::2] or convs[:1]) for i in (0, 1)]
    source = templates.get_template("network.c.jinja").render(
        metadata=[
            (key, escape_comment(value)) for key, value in metadata.items() if key != "description"
        ],
        convs=convs,
        features=weight.shape[1],
        linear_weights=linear_weights,
        linear_bias=linear_bias,
        logit_scale=logit_scale,
        buffers=buffers,
        constant_bytes=sum(len(c.weights) + 8 * c.filters + CONVOLUTION_BYTES for c in convs)
        + 20 * weight.shape[1]
        + 40,
    )  # fmt: skip
    return source, logit_scale


def read_convs(
    folded: FoldedNetwork, model: "onnx.ModelProto"
) -> tuple[list[QuantizedConv], float]:
    """The convolutions of a quantised model, and the scale of the last one's output.

    Raises:
        UserError: the quantiser did not leave what the C file computes.
    """
    from onnx import numpy_helper

    values = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "QLinearConv"]
    convs, scale_out = [], 0.0
    for index, (node, conv) in enumerate(zip(nodes, folded.convs, strict=True)):
        _, scale_in, zero_in, weight, weight_scale, _, output_scale, zero_out, bias = (
            values.get(name, np.zeros(())) for name in node.input
        )
        if zero_in.any() or zero_out.any() or (index == 0 and scale_in != 1):
            raise UserError("the calibration images do not span the grey values 0 to 255")
        scale_out = float(output_scale)
        factors = float(scale_in) * weight_scale.astype(np.float64) / scale_out
        shift = int(np.floor(np.log2(MAX_INT32 / factors.max())))
        convs.append(
            QuantizedConv(
                folded.sides[index],
                conv.weight.shape[1],
                conv.weight.shape[0],
                conv.kernel,
                conv.pool,
                weight.transpose(0, 2, 3, 1).ravel().tolist(),
                bias.tolist(),
                np.round(factors * 2.0**shift).astype(np.int64).tolist(),
                shift,
            )
        )
    return convs, scale_out


def run_c(path: Path, images: UInt8[Tensor, "n 28 28"], *flags: str) -> Float[Tensor, "n 10"]:
    """Compile a C file with warnings as errors and run it on images.

    Returns:
        Its logits.

    Raises:
        CheckUnavailableError: no compiler, or not with these flags.
        UserError: the file does not compile, or a sanitizer stopped the program.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise CheckUnavailableError("there is no C compiler (cc) on this machine")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = folder / "check"
        probe = folder / "probe.c"
        probe.write_text("int main(void) { return 0; }\n")
        command = [compiler, *WARNINGS, *flags, "-o", str(program)]
        if run_program([*command, str(probe)]).returncode or run_program([str(program)]).returncode:
            raise CheckUnavailableError(f"cc does not support {' '.join(flags)} on this machine")
        source = folder / "network.c"
        source.write_bytes(path.read_bytes())
        harness = str(files("tiny_mnist.export") / "c_check.c")
        done = run_program([*command, str(source), harness])
        if done.returncode:
            raise UserError(f"the C file does not compile: {first_line(done.stderr)}")
        done = run_program([str(program)], images.numpy().tobytes())
        if done.returncode:
            raise UserError(f"the C file fails when it runs: {first_line(done.stderr)}")
    logits = np.frombuffer(done.stdout, np.int32).reshape(-1, 10)
    return torch.from_numpy(logits.astype(np.float32))


def run_program(command: list[str], content: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Run a program with something on its standard input."""
    return subprocess.run(command, input=content, capture_output=True, check=False)


def first_line(output: bytes) -> str:
    """The first line of what a program printed that names an error."""
    lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")


def format_numbers(values: Iterable[Any]) -> str:
    """Numbers, comma separated, in lines of a readable length."""
    text = " ".join(f"{value}," for value in values)
    return textwrap.fill(text, LINE_WIDTH, initial_indent="  ", subsequent_indent="  ")


def escape_comment(text: str) -> str:
    """Text that cannot end a C comment or its line."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable.replace("*/", "* /").replace("??/", "? ?/")
