"""Configurations are checked before anything starts."""

from collections.abc import Callable

import pytest
from omegaconf import DictConfig

from tiny_mnist.config.loading import resolve_config
from tiny_mnist.config.schema import validate
from tiny_mnist.errors import UserError

Compose = Callable[..., DictConfig]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["experiment=original"],
        ["experiment=holdout"],
        ["optim=adamw"],
        ["optim=sgd"],
        ["experiment=best"],
        ["experiment=best_long"],
        ["trainer=cpu"],
        ["trainer=gpu"],
        ["trainer=ddp"],
        ["debug=batch"],
        ["debug=limit"],
        ["debug=overfit"],
        ["debug=profiler"],
    ],
)
def test_every_option_that_ships_is_valid(compose: Compose, overrides: list[str]) -> None:
    validate(resolve_config(compose(*overrides)))


def test_the_defaults_are_the_originals_recipe(compose: Compose) -> None:
    assert compose() == compose("experiment=original")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.max_lr=-1", "optim.max_lr=-1 should be greater than 0"),
        ("optim.max_lr=nan", "optim.max_lr=nan should be a finite number"),
        ("optim.max_lr=fast", "optim.max_lr=fast should be a valid number"),
        ("optim.interval=batch", "optim.interval=batch should be 'step' or 'epoch'"),
        ("data.batch_size=0", "data.batch_size=0 should be greater than or equal to 2"),
        ("data.batch_size=1.5", "data.batch_size=1.5 should be a valid integer"),
        ("data.batch_size=59999", "data.batch_size=59999 leaves 1 image(s) for the last batch"),
        ("data.batch_size=59998 trainer=ddp", "data.batch_size=59998 leaves 2 image(s)"),
        ("data.val_size=70000", "data.val_size=70000 should be less than 60000"),
        ("data.train_size=60000 data.val_size=1", "data: train_size=60000 exceeds the 59999"),
        ("data.scale=0.1", "data: scale, shear and elastic need sampling=bicubic"),
        ("seed=-1", "seed=-1 should be greater than or equal to 0"),
        ("model.width=0", "model.width=0 should be greater than or equal to 1"),
        ("+model.depth=3", "model.depth is not a known setting"),
        ("trainer.devices=0", "trainer.devices=0 should be greater than or equal to 1 or"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0 should be greater than or equal to 1"),
        ("~optim.interval", "optim.interval is missing"),
        ("trainer.limit_val_batches=0 data.val_size=9", "trainer.limit_val_batches=0 leaves no"),
    ],
)
def test_a_bad_value_is_named_as_on_the_command_line(
    compose: Compose, override: str, message: str
) -> None:
    with pytest.raises(UserError) as raised:
        validate(resolve_config(compose(*override.split())))
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "override",
    [
        "model._target_=os.system",
        "data._target_=subprocess.run",
        "trainer._target_=builtins.eval",
        "optim.optimizer._target_=torch.hub.load",
        "optim.optimizer._target_=torch.optim.adagrad.torch.hub.load",
        "optim.scheduler._target_=torch.optim.lr_scheduler.math.sqrt",
        "+trainer.callbacks={_target_: os.system, command: id}",
        "+trainer.callbacks=[{_target_: os.system, command: id}]",
        "+optim.optimizer.betas={_target_: os.system, command: id}",
        "+trainer._args_=[1]",
        "+optim.scheduler._convert_=all",
    ],
)
def test_nothing_but_known_targets_can_be_instantiated(compose: Compose, override: str) -> None:
    with pytest.raises(UserError):
        validate(resolve_config(compose(override)))
