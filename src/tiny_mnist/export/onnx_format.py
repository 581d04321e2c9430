"""ONNX: the network as a graph from raw images to log-probabilities, in float or eight bits.

The graph of a folded network is written node by node: it is half the size of a traced one, and its
ReLUs come before the pools, where the quantizer needs them. Other networks are traced by PyTorch.
"""

import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tiny_mnist.data.datasets import DatasetInfo
from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.data.loaders import EVALUATION_BATCH
from tiny_mnist.data.transforms import SIDE, normalize
from tiny_mnist.errors import UserError, one_line
from tiny_mnist.export.folding import FoldedNetwork, UnsupportedLayerError, fold
from tiny_mnist.export.format import ExportedFile, Tolerance, describe_input
from tiny_mnist.export.quantization import quantize
from tiny_mnist.extras import require
from tiny_mnist.system.telemetry import disable_onnxruntime_telemetry

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUT = "images", "log_probs"
OPSET, IR_VERSION = 17, 8  # understood by ONNX Runtime since 1.12, of 2022
FLOAT_TOLERANCE = Tolerance(log_probs=1e-4)
INT8_TOLERANCE = Tolerance(agreement=99.5)


def encode(network: nn.Module, data: LabelledImages, metadata: dict[str, str]) -> ExportedFile:
    """The network in 32-bit floating point."""
    content = to_onnx(network, metadata, data.info).SerializeToString()
    return ExportedFile(content, predict_onnx, FLOAT_TOLERANCE)


def encode_int8(network: nn.Module, data: LabelledImages, metadata: dict[str, str]) -> ExportedFile:
    """The network with eight-bit convolutions, calibrated on training images."""
    model = quantize(to_onnx(network, metadata, data.info), INPUT, data.train_images)
    return ExportedFile(model.SerializeToString(), predict_onnx, INT8_TOLERANCE)


def predict_onnx(
    model: Path | bytes, images: UInt8[Tensor, "n 28 28"]
) -> Float[Tensor, "n classes"]:
    """Log-probabilities of an exported ONNX file or its bytes, by ONNX Runtime on the CPU."""
    disable_onnxruntime_telemetry()
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    parts = [
        session.run([OUTPUT], {INPUT: part.numpy()})[0] for part in images.split(EVALUATION_BATCH)
    ]
    return torch.from_numpy(np.concatenate(parts))


def to_onnx(network: nn.Module, metadata: dict[str, str], info: DatasetInfo) -> "onnx.ModelProto":
    """The network as an ONNX model.

    Raises:
        UserError: the package onnx is not installed.
    """
    require("export", "export to ONNX")
    import onnx

    try:
        model = build_model(fold(network, info))
    except UnsupportedLayerError:
        model = trace_model(network, info)
    model.producer_name, model.producer_version = "tiny-mnist", version("tiny-mnist")
    model.doc_string = describe_input(info)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def build_model(network: FoldedNetwork) -> "onnx.ModelProto":
    """A folded network as an ONNX graph, one node a layer."""
    from onnx import NodeProto, TensorProto, helper, numpy_helper

    nodes: list[NodeProto] = []
    initializers: list[TensorProto] = []

    def add(operator: str, inputs: list[str], weights: dict[str, Tensor], **attributes: Any) -> str:
        """Add one node, whose output is named after it."""
        name = f"{operator.lower()}{1 + sum(node.op_type == operator for node in nodes)}"
        for key, tensor in weights.items():
            array = tensor.contiguous().numpy()
            initializers.append(numpy_helper.from_array(array, f"{name}.{key}"))
        inputs = [*inputs, *(f"{name}.{key}" for key in weights)]
        nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    last = add("Cast", [INPUT], {}, to=TensorProto.FLOAT)
    last = add("Unsqueeze", [last], {"axes": torch.tensor([1])})  # the one channel
    for conv in network.convs:
        weights = {"weight": conv.weight, "bias": conv.bias}
        last = add("Conv", [last], weights, kernel_shape=[conv.kernel] * 2)
        last = add("Relu", [last], {})
        if conv.pool > 1:
            sides = [conv.pool] * 2
            last = add("MaxPool", [last], {}, kernel_shape=sides, strides=sides)
    last = add("Flatten", [last], {})
    last = add("Gemm", [last], {"weight": network.weight, "bias": network.bias}, transB=1)
    add("LogSoftmax", [last], {}, axis=1)
    nodes[-1].output[0] = OUTPUT
    images = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", SIDE, SIDE])
    log_probs = helper.make_tensor_value_info(
        OUTPUT, TensorProto.FLOAT, ["batch", len(network.bias)]
    )
    graph = helper.make_graph(nodes, "tiny_mnist", [images], [log_probs], initializers)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )


class RawImageNetwork(nn.Module):
    """A network behind the normalisation of its images.

    Args:
        network: takes normalised images [n, 1, 28, 28].
        info: the dataset; says how images are normalised.
    """

    def __init__(self, network: nn.Module, info: DatasetInfo) -> None:
        super().__init__()
        self.network, self.info = network, info

    def forward(self, images: UInt8[Tensor, "n 28 28"]) -> Float[Tensor, "n classes"]:
        """Log-probabilities for raw images."""
        log_probs: Tensor = self.network(normalize(images, self.info))
        return log_probs


def trace_model(network: nn.Module, info: DatasetInfo) -> "onnx.ModelProto":
    """A network as the ONNX graph that PyTorch's tracing exporter makes of it.

    Raises:
        UserError: the exporter does not know one of its layers.
    """
    import onnx

    device = next(network.parameters()).device
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # the other exporter would need the package onnxscript
        path = Path(folder) / "traced.onnx"
        try:
            torch.onnx.export(
                RawImageNetwork(network, info).eval(),
                (torch.zeros(1, SIDE, SIDE, dtype=torch.uint8, device=device),),
                path,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
                opset_version=OPSET,
                dynamo=False,
            )
        except RuntimeError as error:
            reason = one_line(error)[:200]
            raise UserError(f"PyTorch cannot export this network to ONNX: {reason}") from error
        return onnx.load(path)
