"""Metrics, corruptions and the report of a trained network."""

from typing import TYPE_CHECKING

from tiny_mnist.lazy import import_on_use

if TYPE_CHECKING:
    from tiny_mnist.evaluation.corruptions import CORRUPTIONS
    from tiny_mnist.evaluation.metrics import Evaluation, evaluate
    from tiny_mnist.evaluation.report import EvaluationFiles

__all__ = ["CORRUPTIONS", "Evaluation", "EvaluationFiles", "evaluate"]

__getattr__ = import_on_use(
    __name__,
    {
        "CORRUPTIONS": "corruptions",
        "Evaluation": "metrics",
        "EvaluationFiles": "report",
        "evaluate": "metrics",
    },
)
