"""Optional extras of this package."""

from collections.abc import Iterable
from importlib.util import find_spec

from tiny_mnist.errors import UserError

EXTRAS = {
    "predict": ("cv2", "PIL", "onnxruntime", "safetensors"),
    "export": ("onnx", "onnxruntime", "safetensors"),
    "demo": ("gradio", "cv2", "PIL", "onnxruntime", "safetensors"),
    "sweep": (
        "optuna",
        "hydra_plugins.hydra_joblib_launcher",
        "hydra_plugins.hydra_submitit_launcher",
    ),
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
}
"""The modules that the features of each optional extra import."""


def require(extra: str, purpose: str, modules: Iterable[str] = ()) -> None:
    """Check that an optional extra of this package is installed.

    Args:
        extra: a key of `EXTRAS`.
        purpose: the command or setting that needs the extra, the subject of the message.
        modules: those modules of the extra that are needed; all if none are named.

    Raises:
        UserError: a module of it is missing; names the command that installs it.
    """
    missing = [module for module in modules or EXTRAS[extra] if not is_installed(module)]
    if missing:
        raise UserError(f"{purpose} needs {', '.join(missing)}: pip install 'tiny-mnist[{extra}]'")


def is_installed(module: str) -> bool:
    """Whether a module could be imported; imports no more than its parent packages."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent package
        return False
