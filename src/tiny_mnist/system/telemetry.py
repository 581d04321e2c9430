"""Keep libraries from sending data about their use."""

import os


def disable_onnxruntime_telemetry() -> None:
    """Let ONNX Runtime send nothing; call it before onnxruntime is imported.

    Since release 1.29, its wheels for Linux report models and sessions to Microsoft by default, and
    leave an identifier in the folder of temporary files. Source: Privacy.md in the package.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
