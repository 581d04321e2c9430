"""A trained network as one small file for other programs: ONNX, float or int8, or safetensors.

The ONNX graph is written node by node: for six convolutions that is shorter than what
`torch.onnx.export` needs around it, half the size, and needs no tracing.
"""

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from tiny_mnist.data.download import Mnist
from tiny_mnist.data.loaders import EVALUATION_BATCH
from tiny_mnist.data.transforms import MEAN, SIDE, STD
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation.metrics import score
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.models.tiny_cnn import TinyCNN
from tiny_mnist.system.atomic_files import atomic_write

if TYPE_CHECKING:
    import onnx

Format = Literal["onnx", "safetensors"]
INPUT, OUTPUT = "images", "log_probs"
OPSET, IR_VERSION = 17, 8  # understood by ONNX Runtime since 1.12, of 2022
CALIBRATION_IMAGES = 1000  # the first of the training images
FLOAT_TOLERANCE = 1e-4  # of log-probabilities
INT8_TOLERANCE = 0.5  # percent of the images that may be read otherwise
INPUT_TEXT = (
    "images: uint8 [batch, 28, 28], grey 0 (paper) to 255 (ink), light digit on dark as in MNIST; "
    "normalisation is inside. log_probs: float32 [batch, 10], natural logarithms of the "
    "probabilities of the digits 0-9."
)


@dataclass(frozen=True)
class Check:
    """What a written file answers for the test images, beside what PyTorch does."""

    largest_difference: float
    """Of a log-probability."""
    agreement: float
    """Percent of the images that both read as the same digit."""
    accuracy: float
    torch_accuracy: float


def export(
    network: TinyCNN,
    path: Path,
    mnist: Mnist,
    provenance: dict[str, str | int | float],
    file_format: Format = "onnx",
    int8: bool = False,
) -> Check:
    """Write a network to a file, read it back and compare; on a mismatch nothing is written.

    Args:
        network: in evaluation mode.
        path: the file; one that is there is replaced only by one that has passed.
        mnist: test images to compare on; training images to calibrate int8 with.
        provenance: goes into the metadata of the file.
        file_format: "onnx", or "safetensors" for the weights alone.
        int8: weights and activations of eight bits; ONNX only.

    Raises:
        UserError: the package for it is not installed, or the file answers otherwise.
        OSError: the file cannot be written.
    """
    expected = predict(network, mnist.test_images)
    metadata = {
        **{key: str(value) for key, value in provenance.items()},
        # Of the float network; an int8 file's own figures come out of its check.
        "test_accuracy": f"{score(expected, mnist.test_labels)[1]:.2f} %",
        "description": INPUT_TEXT,
    }
    answer: Callable[[Path, Tensor], Tensor]
    if file_format == "safetensors":
        content, answer = to_safetensors(network, metadata), answers_of_safetensors
    else:
        model = to_onnx(network, metadata)
        if int8:
            model = quantize(model, mnist.train_images[:CALIBRATION_IMAGES])
        content, answer = model.SerializeToString(), answers_of_onnx
    with atomic_write(path) as file:
        file.write(content)
        file.flush()
        answers = answer(Path(file.name), mnist.test_images)
        check = compare(answers, expected, mnist.test_labels)
        right = (
            check.agreement >= 100 - INT8_TOLERANCE
            if int8
            else check.largest_difference <= FLOAT_TOLERANCE
        )
        if not right:
            raise UserError(
                f"{path} is not written: it would answer otherwise than PyTorch (largest "
                f"difference {check.largest_difference:.2g}, {check.agreement:.2f} % of the "
                "test images read alike)" + ("; try without --int8" if int8 else "")
            )
    return check


def compare(
    answers: Float[Tensor, "n 10"], expected: Float[Tensor, "n 10"], labels: Int64[Tensor, " n"]
) -> Check:
    """Two sets of log-probabilities for the same images."""
    alike = answers.argmax(dim=1) == expected.argmax(dim=1)
    return Check(
        # What is not a number is as different as can be.
        float((answers - expected).abs().nan_to_num(nan=torch.inf).max()),
        100 * float(alike.double().mean()),
        score(answers, labels)[1],
        score(expected, labels)[1],
    )


def to_onnx(network: TinyCNN, metadata: dict[str, str]) -> "onnx.ModelProto":
    """The network as an ONNX graph from raw images to log-probabilities.

    Each batch norm is folded into the convolution before it, and the normalisation of the images
    into the first: no convolution pads, so that is exact.
    """
    with needs("export", "onnx"):
        import onnx
        from onnx import TensorProto, helper, numpy_helper

    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []

    def add(operator: str, inputs: list[str], weights: dict[str, Tensor], **attributes: Any) -> str:
        """One node, whose output is named after it."""
        name = f"{operator.lower()}{1 + sum(node.op_type == operator for node in nodes)}"
        for key, tensor in weights.items():
            array = tensor.detach().cpu().contiguous().numpy()
            initializers.append(numpy_helper.from_array(array, f"{name}.{key}"))
        inputs = [*inputs, *(f"{name}.{key}" for key in weights)]
        nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    last = add("Cast", [INPUT], {}, to=TensorProto.FLOAT)
    last = add("Unsqueeze", [last], {"axes": torch.tensor([1])})  # the one channel
    layers = [layer for layer in network.modules() if not any(layer.children())]
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        match layer:
            case nn.Conv2d():
                assert isinstance(following, nn.BatchNorm2d)
                conv = fuse_conv_bn_eval(layer, following)
                assert conv.bias is not None
                weight, bias = conv.weight.detach(), conv.bias.detach()
                if not any(node.op_type == "Conv" for node in nodes):
                    bias = bias - weight.sum(dim=(1, 2, 3)) * (MEAN / STD)
                    weight = weight / (255 * STD)
                weights = {"weight": weight, "bias": bias}
                last = add("Conv", [last], weights, kernel_shape=list(layer.kernel_size))
                # Before the pool, which gives the same numbers: runtimes make one of the two.
                last = add("Relu", [last], {})
            case nn.MaxPool2d():
                sides = [layer.kernel_size] * 2
                last = add("MaxPool", [last], {}, kernel_shape=sides, strides=sides)
            case nn.Flatten():
                last = add("Flatten", [last], {})
            case nn.Linear():
                weights = {"weight": layer.weight, "bias": layer.bias}
                last = add("Gemm", [last], weights, transB=1)
            case nn.LogSoftmax():
                last = add("LogSoftmax", [last], {}, axis=1)
            case nn.BatchNorm2d() | nn.ReLU():
                pass  # came with their convolution
            case _:
                raise TypeError(f"no ONNX operator for {layer}")
    nodes[-1].output[0] = OUTPUT
    images = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", SIDE, SIDE])
    log_probs = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "tiny_mnist", [images], [log_probs], initializers)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tiny-mnist",
        producer_version=version("tiny-mnist"),
        doc_string=INPUT_TEXT,
    )
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def quantize(model: "onnx.ModelProto", images: UInt8[Tensor, "n 28 28"]) -> "onnx.ModelProto":
    """The model with eight-bit convolutions, by ONNX Runtime's static quantizer.

    Weights have one scale per output channel; the ranges of the activations are those seen on
    `images`. The linear layer, 170 parameters, stays float because its outputs are the result.

    Weights use seven of the eight bits (-64 to 64). On x86 processors without VNNI, ONNX Runtime
    adds pairs of uint8 × int8 products in 16 bits, which saturates: 2 × 255 × 127 > 32,767, but
    2 × 255 × 64 is not. So the file gives the same result on every processor.
    """
    with needs("export", "onnx"):
        import onnx
        from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Gives the images batch by batch, and then None."""

        def __init__(self) -> None:
            self.parts: Iterator[Tensor] = iter(images.split(100))

        def get_next(self) -> dict[str, Any] | None:
            part = next(self.parts, None)
            return None if part is None else {INPUT: part.numpy()}

    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)  # it advises to fold what is folded
    try:
        with tempfile.TemporaryDirectory() as folder:  # files are all that the quantizer takes
            source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            onnx.save(model, source)
            quantization.quantize_static(
                source,
                target,
                Images(),
                quant_format=quantization.QuantFormat.QOperator,
                op_types_to_quantize=["Conv", "Relu", "MaxPool"],
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
            quantized = onnx.load(target)
    finally:
        root.setLevel(level)
    quantized.doc_string = model.doc_string
    quantized.producer_name, quantized.producer_version = (
        model.producer_name,
        model.producer_version,
    )
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(quantized, {**metadata, "quantization": "int8, static"})
    return quantized


def answers_of_onnx(path: Path, images: UInt8[Tensor, "n 28 28"]) -> Float[Tensor, "n 10"]:
    """Log-probabilities of an exported ONNX file, by ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = [
        session.run([OUTPUT], {INPUT: part.numpy()})[0] for part in images.split(EVALUATION_BATCH)
    ]
    return torch.from_numpy(np.concatenate(parts))


def to_safetensors(network: TinyCNN, metadata: dict[str, str]) -> bytes:
    """Weights and buffers under their names in `TinyCNN`, with the metadata."""
    from safetensors.torch import save

    state = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    return bytes(save(state, metadata))


def answers_of_safetensors(path: Path, images: UInt8[Tensor, "n 28 28"]) -> Float[Tensor, "n 10"]:
    """Log-probabilities of a network that is rebuilt from a safetensors file."""
    return predict(load_safetensors(path), images)


def load_safetensors(path: Path) -> TinyCNN:
    """The network of an exported safetensors file; the width follows from the weights."""
    from safetensors.torch import load_file

    state = load_file(path)
    network = TinyCNN(width=len(state["block1.0.0.weight"]))
    network.load_state_dict(state)
    return network.eval()


@contextmanager
def needs(extra: str, package: str) -> Iterator[None]:
    """Say how to install what the extra brings, where it is not.

    Raises:
        UserError: an import failed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"{package} is not installed: pip install 'tiny-mnist[{extra}]'") from error
