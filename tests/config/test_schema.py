"""Configurations are checked before anything starts."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict

from support.program import PROJECT
from tiny_mnist.config.loading import resolve_config
from tiny_mnist.config.schema import validate
from tiny_mnist.errors import UserError

Compose = Callable[..., DictConfig]


CONFIGS = PROJECT / "configs"
NEEDED = {"data=idx": ["data.root=folder"], "callbacks=early_stopping": ["data.val_size=5000"]}
"""What some options need."""
OPTIONS = [
    f"{path.parent.name}={path.stem}"
    for path in sorted(CONFIGS.glob("*/*.yaml"))
    if path.parent.name != "hydra"
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_that_ships_is_valid(compose: Compose, option: str) -> None:
    validate(resolve_config(compose(option, *NEEDED.get(option, []))))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["data=idx", "data.root=folder", "data.val_size=100000"],
        ["data.folds=5", "data.fold=4"],
    ],
)
def test_data_may_be_split_otherwise(compose: Compose, overrides: list[str]) -> None:
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
        ("data.batch_size=59999", "data.batch_size=59999 leaves 1 image for the last batch"),
        ("data.batch_size=59998 trainer=ddp", "data.batch_size=59998 leaves 2 images"),
        ("data.val_size=70000", "data.val_size=70000 should be less than 60000"),
        ("data.train_size=60000 data.val_size=1", "data: train_size=60000 exceeds the 59999"),
        ("data.fold=1", "data: fold=1 needs data.folds=…, the number of folds"),
        ("data.folds=5", "data: folds=5 needs data.fold=…, from 0 to 4, or all of them"),
        ("data.folds=5 data.fold=5", "data: fold=5 should be less than folds=5"),
        ("data.folds=1 data.fold=0", "data.folds=1 should be greater than or equal to 2"),
        ("data.folds=5 data.fold=0 data.val_size=9", "data: folds=5 holds a fold out, and val_si"),
        ("data.folds=5 data.fold=0 data.train_size=48001", "data: train_size=48001 exceeds the 48"),
        ("data.folds=2 data.fold=0 data.batch_size=29999", "data.batch_size=29999 leaves 1 image"),
        ("data.folds=2 data.fold=0 trainer.limit_val_batches=0", "trainer.limit_val_batches=0 l"),
        ("data.flip=2", "data.flip=2 should be less than or equal to 1"),
        ("data=idx data.val_size=-1", "data.val_size=-1 should be greater than or equal to 0"),
        ("data.scale=0.1", "data: scale, shear and elastic need sampling=bicubic"),
        ("seed=-1", "seed=-1 should be greater than or equal to 0"),
        ("model.width=0", "model.width=0 should be greater than or equal to 1"),
        ("+model.depth=3", "model.depth is not a known setting"),
        ("trainer.devices=0", "trainer.devices=0 should be a number of devices, a list"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0 should be greater than or equal to 1"),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches=0 should be greater than 0"),
        ("trainer.limit_train_batches=x", "trainer.limit_train_batches=x should be a number of"),
        ("trainer.precision=64-true", "trainer.precision=64-true should be '32-true', "),
        ("trainer.precision=16-true", "trainer.precision=16-true should be"),
        ("+trainer.callbacks=[]", "trainer: callbacks is a group of its own"),
        ("+trainer.default_root_dir=x", "trainer: default_root_dir is the run folder"),
        ("+optim.optimizer.eps=nan", "optim.optimizer.eps=nan must be a finite number"),
        ("~trainer.num_nodes", "trainer.num_nodes is missing"),
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


@pytest.mark.parametrize("option", ["model=mlp", "debug=batch"])
def test_a_last_batch_of_one_image_passes_where_it_does_no_harm(
    compose: Compose, option: str
) -> None:
    with pytest.raises(UserError, match="leaves 1 image"):
        validate(resolve_config(compose("data.train_size=129")))
    validate(resolve_config(compose(option, "data.train_size=129")))


@pytest.mark.parametrize(
    "override",
    [
        "model={_target_: my.Network, depth: 3}",
        "data={_target_: my.Data, folder: images}",
        "optim.optimizer={_target_: my.Optimizer, _partial_: true}",
        "optim.scheduler=null",
        "+callbacks.mine={_target_: my.Callback}",
        "callbacks.progress_bar=null",
        "++trainer.accumulate_grad_batches=2",
        "++trainer.fast_dev_run=true",
        "+trainer.detect_anomaly=true",
    ],
)
def test_classes_and_trainer_arguments_of_the_user_pass(compose: Compose, override: str) -> None:
    key, _, value = override.partition("=")
    config = compose()
    with open_dict(config):
        if value.startswith("{"):
            OmegaConf.update(config, key.lstrip("+"), OmegaConf.create(value), merge=False)
        else:
            config = compose(override)
    validate(resolve_config(config))


def leaf_keys(node: Any, key: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from leaf_keys(value, f"{key}.{name}".lstrip("."))
    else:
        yield key


NO_RECIPE = (
    "_target_", "accelerator", "devices", "num_nodes", "strategy", "use_distributed_sampler",
    "enable_model_summary", "fast_dev_run", "log_every_n_steps", "num_sanity_val_steps", "profiler",
)  # fmt: skip
"""Arguments of the Trainer that choose the device, the output or a debugging mode."""


def test_the_original_recipe_depends_on_no_default(compose: Compose) -> None:
    spelled_out = OmegaConf.to_container(
        OmegaConf.load(PROJECT / "configs/experiment/original.yaml")
    )
    config = resolve_config(compose())
    recipe = {group: config[group] for group in ("model", "optim", "data", "trainer")}
    recipe["data"].pop("root")
    for name in NO_RECIPE:
        recipe["trainer"].pop(name)
    assert {*leaf_keys(recipe)} <= {*leaf_keys(spelled_out)}


@pytest.mark.parametrize("recipe", ["experiment=best", "data=fashion_mnist"])
def test_overfitting_is_never_augmented(compose: Compose, recipe: str) -> None:
    data = compose(recipe, "debug=overfit").data
    augmentation = ("rotation", "translation", "scale", "shear", "elastic", "flip")
    assert {data[key] for key in augmentation} == {0}
