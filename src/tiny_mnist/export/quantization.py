"""Eight-bit quantisation of an ONNX model, by ONNX Runtime's static quantizer."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import UInt8
from torch import Tensor

from tiny_mnist.errors import UserError
from tiny_mnist.extras import require
from tiny_mnist.system.telemetry import disable_onnxruntime_telemetry

if TYPE_CHECKING:
    import onnx

CALIBRATION_IMAGES = 1000  # the first of the training images


def quantize(
    model: "onnx.ModelProto", input_name: str, images: UInt8[Tensor, "n 28 28"]
) -> "onnx.ModelProto":
    """The model with eight-bit convolutions.

    Weights have one scale per output channel; the ranges of the activations are those seen on the
    first `CALIBRATION_IMAGES`. Linear layers stay in floating point: the outputs of the last one
    are the result.

    Weights use seven of the eight bits (-64 to 64). On x86 processors without VNNI, ONNX Runtime
    adds pairs of uint8 × int8 products in 16 bits, which saturates: 2 × 255 × 127 > 32,767, but
    2 × 255 × 64 is not. So the file gives the same result on every processor.

    Raises:
        UserError: the package onnx is not installed, or the model has no convolutions.
    """
    require("export", "export to eight bits")
    if not any(node.op_type == "Conv" for node in model.graph.node):
        raise UserError(
            "the network has no convolutions, and only these are quantised to eight bits: choose "
            "--format onnx"
        )
    disable_onnxruntime_telemetry()
    import onnx
    from onnxruntime import quantization

    class CalibrationImages(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Gives the images batch by batch, and then None."""

        def __init__(self) -> None:
            self.batches: Iterator[Tensor] = iter(images[:CALIBRATION_IMAGES].split(100))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            return None if batch is None else {input_name: batch.numpy()}

    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)  # it recommends a preprocessing that this graph does not need
    try:
        with tempfile.TemporaryDirectory() as folder:  # the quantizer takes files only
            source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            onnx.save(model, source)
            quantization.quantize_static(
                source,
                target,
                CalibrationImages(),
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
    quantized.producer_name = model.producer_name
    quantized.producer_version = model.producer_version
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(quantized, {**metadata, "quantization": "int8, static"})
    return quantized
