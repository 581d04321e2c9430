"""Resuming one run: its saved configuration with today's permitted overrides."""

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from tiny_mnist.config.data_sections import ANY_IMAGES
from tiny_mnist.config.loading import LAUNCH_KEYS, load_config, resolve_config, run_settings
from tiny_mnist.config.schema import RESUMABLE_KEYS, validate
from tiny_mnist.config.trust import check_trusted
from tiny_mnist.errors import UserError
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.system.plain_files import is_percentage


def load_resume_config(run: RunFolder, overrides: list[str], trust: bool) -> tuple[DictConfig, int]:
    """Load the saved configuration of a run, and apply today's overrides.

    Args:
        run: the run to resume.
        overrides: the task overrides of the command line, `resume` and `trust` included.
        trust: whether the saved configuration may name classes other than this package's listed
            ones, `torch.optim`'s, and Lightning's Trainer, callbacks and loggers; their code is
            run.

    Returns:
        The configuration to train with, and the number of epochs that the run was begun for.

    Raises:
        UserError: the configuration is damaged or not trusted, or an override is not permitted.
    """
    saved = run_settings(load_config(run.configuration))
    if not trust:
        check_trusted(saved, run.configuration)
    validate(resolve_config(saved))
    config = with_overrides(saved, overrides)
    validate(resolve_config(config))
    before, after = saved.trainer.max_epochs, config.trainer.max_epochs
    if after < before:
        raise UserError(f"trainer.max_epochs={after}: the run was begun for {before} epochs")
    return config, before


def with_overrides(saved: DictConfig, overrides: list[str]) -> DictConfig:
    """A copy of a configuration with overrides applied.

    Raises:
        UserError: an override changes a setting that a resumed run must keep.
    """
    config = saved.copy()
    parsed = OverridesParser.create().parse_overrides(overrides)
    for text, override in zip(overrides, parsed, strict=True):
        key = override.key_or_group
        if key in LAUNCH_KEYS:
            continue
        if key not in RESUMABLE_KEYS or override.is_delete() or override.is_sweep_override():
            raise UserError(
                f"{text}: a resumed run takes no setting but {', '.join(RESUMABLE_KEYS)}"
            )
        if key == "data.root" and saved.data.get("_target_") == ANY_IMAGES:
            raise UserError(f"{text}: with data=idx the folder is the data, which must stay")
        with open_dict(config):
            OmegaConf.update(config, key, override.value())
    return config


def describe_result(run: RunFolder) -> str:
    """The accuracy of a finished run, on the test images if it was measured on them.

    Raises:
        UserError: its summary is damaged.
    """
    split, accuracy = run.read_score()
    tested = run.read_summary().get("test_accuracy")
    if tested is not None:
        if not is_percentage(tested):
            raise UserError(f"{run.summary}: test_accuracy is not a number from 0 to 100")
        split, accuracy = "test", tested
    name = "validation" if split == "val" else split
    return "" if accuracy is None else f": {name} accuracy {accuracy:.2f} %"


def describe_prolonging(run: RunFolder, before: int, after: int) -> str:
    """What becomes of the learning-rate schedule when a run is given more epochs."""
    if run.newest_checkpoint is None:
        return f"Nothing is trained yet: the learning rate's cycle will span all {after} epochs"
    further = (
        f"epoch {after} keeps" if after == before + 1 else f"epochs {before + 1} to {after} keep"
    )
    return f"The learning rate's cycle ends as planned; {further} its final rate"
