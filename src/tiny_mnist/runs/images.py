"""The images that a run was trained and tested on, from the settings in its checkpoint."""

from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate

from tiny_mnist.config.trust import check_trusted
from tiny_mnist.data.datamodule import DownloadedDataModule, IdxDataModule, MNISTDataModule
from tiny_mnist.data.datasets import MNIST
from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.errors import UserError, one_line
from tiny_mnist.runs.checkpoint_io import read_checkpoint
from tiny_mnist.runs.folder import RunFolder, find_trained_checkpoint


def load_images(
    run: RunFolder | Path, root: Path | None = None, trust: bool = False
) -> LabelledImages:
    """Read the images of the data set of a run.

    Args:
        run: the run folder.
        root: folder of the images; None for that of the run if it has them, else the default one.
        trust: whether the checkpoint may name classes other than this package's listed ones,
            `torch.optim`'s, and Lightning's Trainer, callbacks and loggers; their code is run.

    Raises:
        UserError: the images are not available, or the run's data are of another kind.
    """
    node, path = saved_data(run)
    if not trust:
        check_trusted({"data": node}, path)
    try:
        target = get_class(node["_target_"])
        if not issubclass(target, IdxDataModule):
            raise UserError(
                f"{path} was trained on {node['_target_']}, whose test images are not known here: "
                "only those of tiny_mnist.data.IdxDataModule and its subclasses are"
            )
        if root is None and issubclass(target, DownloadedDataModule):
            saved = Path(node.get("root") or "").expanduser()
            complete = all((saved / file.name).is_file() for file in target.dataset.files)
            root = saved if node.get("root") and complete else None
        elif root is None and node.get("root"):
            root = Path(node["root"]).expanduser()
        module: IdxDataModule = instantiate({**node, "root": root and str(root)})
    except (ImportError, InstantiationException, TypeError, ValueError) as error:
        reason = one_line(error.__cause__ or error)[:200]
        raise UserError(f"the data of {path} cannot be read: {reason}") from error
    return module.images


def check_reads_digits(run: RunFolder | Path, trust: bool = False) -> None:
    """Check that the network of a run may be asked to read digits.

    Args:
        run: the run folder.
        trust: whether the checkpoint may name classes other than this package's listed ones,
            `torch.optim`'s, and Lightning's Trainer, callbacks and loggers; their code is run.

    Raises:
        UserError: it was trained on other images than MNIST's, or names a class that is not trusted
            or cannot be imported.
    """
    node, path = saved_data(run)
    if not trust:
        check_trusted({"data": node}, path)
    try:
        target = get_class(node["_target_"])
    except (ImportError, ValueError) as error:
        raise UserError(f"the data of {path} cannot be read: {one_line(error)[:200]}") from error
    if not (issubclass(target, MNISTDataModule) and target.dataset is MNIST):
        raise UserError(
            f"{path} was trained with {target.__name__}: reading digits in pictures needs a "
            "network that was trained on MNIST, by MNISTDataModule or a subclass of it"
        )


def saved_data(run: RunFolder | Path) -> tuple[dict[str, Any], Path]:
    """The node `data` in the last checkpoint of a run, and the checkpoint.

    A checkpoint without settings, as Lightning's own Trainer saves it, is of MNIST.

    Raises:
        UserError: there is no checkpoint, or it cannot be read.
    """
    path = find_trained_checkpoint(run.path if isinstance(run, RunFolder) else run)
    settings = read_checkpoint(path).get("hyper_parameters")
    node = settings.get("data") if isinstance(settings, dict) else None
    if isinstance(node, dict) and "_target_" in node:
        return node, path
    return {"_target_": f"tiny_mnist.data.{MNISTDataModule.__name__}"}, path
