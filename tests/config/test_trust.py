"""A configuration that was read from a folder names well-known classes only."""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from support.program import PROJECT
from tiny_mnist.config.loading import load_config
from tiny_mnist.config.trust import check_trusted, read_trust_flag
from tiny_mnist.errors import UserError


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for path in (PROJECT / "configs").rglob("*.yaml")
        if "hydra" not in path.parts and path.name != "train.yaml"
    ),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_every_option_that_ships_is_trusted(path: Path) -> None:
    check_trusted(OmegaConf.create({path.parent.name: OmegaConf.load(path)}), path)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torch.hub.load",
        "torch.optim.adagrad.torch.hub.load",
        "torch.optim.lr_scheduler.math.sqrt",
        "lightning.pytorch.callbacks.os.system",
        "lightning.pytorch.trainer.trainer.Path",
        "tiny_mnist.runs.metadata.subprocess.Popen",
        "tiny_mnist.launch.program.Path",
        "${model._target_}",
        "[os.system]",
    ],
)
def test_other_targets_are_refused_by_name(target: str) -> None:
    for node in (
        {"_target_": target},
        {"trainer": {"callbacks": [{"_target_": target}]}},
        {"optim": {"optimizer": {"betas": [[{"_target_": target}]]}}},
    ):
        with pytest.raises(UserError, match="names the class") as refused:
            check_trusted(node, Path("config.yaml"))
        assert target in str(refused.value)


@pytest.mark.parametrize(
    ("logger", "argument"),
    [
        ("MLFlowLogger", {"tracking_uri": "http://elsewhere"}),
        ("WandbLogger", {"settings": {"base_url": "http://elsewhere"}}),
        ("CSVLogger", {"save_dir": "/home"}),
        ("CSVLogger", {"name": "../../elsewhere"}),
        ("CurveLogger", {"save_dir": "/home"}),
    ],
)
def test_a_server_or_folder_of_a_logger_is_refused(logger: str, argument: dict[str, Any]) -> None:
    """Credentials of the environment would be sent there."""
    package = "lightning.pytorch.loggers"
    if logger == "CurveLogger":
        package = "tiny_mnist.training.callbacks.tensorboard"
    node = {"_target_": f"{package}.{logger}", **argument}
    for config in ({"logger": {"mine": node}}, {"callbacks": {"mine": {"inner": node}}}):
        with pytest.raises(UserError, match=r"may name a server, a file or a folder; .*trust=true"):
            check_trusted(config, Path("config.yaml"))


@pytest.mark.parametrize(
    "argument",
    [
        {"dirpath": "/home"},
        {"dirpath": "src"},
        {"dirpath": ""},
        {"dirpath": Path("elsewhere")},
        {"filename": "../train"},
        {"filename": "/etc/x"},
        {"filename": "~x/y"},
        {"parts": ["a", "/b"]},
        {"parts": {"dirpath": "src"}},
        {1: "/word"},
    ],
)
@pytest.mark.parametrize("package", ["lightning.pytorch.callbacks", "pytorch_lightning.callbacks"])
def test_a_file_or_folder_of_a_callback_is_refused(package: str, argument: dict[Any, Any]) -> None:
    """A checkpoint would be written there, over what the user has."""
    node = {"_target_": f"{package}.ModelCheckpoint", **argument}
    for config in ({"callbacks": {"mine": node}}, {"trainer": {"plugins": [node]}}):
        with pytest.raises(UserError, match="may name a server, a file or a folder"):
            check_trusted(config, Path("config.yaml"))


def test_callbacks_with_plain_arguments_are_trusted() -> None:
    node = {
        "_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": None, "save_top_k": 2,
        "monitor": "val_loss", "filename": "best", "save_last": True, "mode": "min",
    }  # fmt: skip
    check_trusted({"callbacks": {"best": node, "none": None}}, Path("config.yaml"))


@pytest.mark.parametrize(
    "value",
    ["${oc.env:HOME}", "a ${oc.env:HOME}", "${oc.decode:${seed}}", "${x${seed}}", "${hydra:run}"],
)
def test_interpolations_other_than_references_are_refused(value: str) -> None:
    with pytest.raises(UserError, match="may refer to its own keys only"):
        check_trusted({"data": {"root": value}}, Path("config.yaml"))
    check_trusted({"data": {"seed": "${seed}", "lr": "${optim.max_lr}"}}, Path("config.yaml"))


def test_a_configuration_that_is_no_plain_yaml_gets_one_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    bomb = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30))]
    for text in ("\n".join(bomb), "[1, 2]", "\x00", "seed: ["):
        path.write_text(text)
        with pytest.raises(UserError, match="cannot be read as a configuration") as refused:
            load_config(path)
        assert "\n" not in str(refused.value)
    path.write_text("x" * (2 << 20))
    with pytest.raises(UserError, match="more than the 1,048,576 that are read"):
        load_config(path)
    path.unlink()
    with pytest.raises(UserError, match="there is no configuration"):
        load_config(path)


@pytest.mark.parametrize("word", ["no", "off", "No", "null", "1", "trust"])
def test_trust_that_is_no_truth_value_is_refused(word: str) -> None:
    """Hydra takes these as words and numbers, of which most count as true in Python."""
    value = OverridesParser.create().parse_override(f"trust={word}").value()
    with pytest.raises(UserError, match="say trust=true or trust=false"):
        read_trust_flag(OmegaConf.create({"trust": value}))
    assert read_trust_flag(OmegaConf.create({"trust": True}))
    assert not read_trust_flag(OmegaConf.create({}))


NESTED = {f"a{n}": [f"${{zz.a{n - 1}}}"] * 2 for n in range(1, 30)}
DOUBLED = {f"a{n}": f"${{a{n - 1}}}" * 2 for n in range(1, 26)}


@pytest.mark.parametrize(
    "config",
    [
        {"zz": {"a0": "x", **NESTED}},
        {"a0": "x", **DOUBLED},
        {"a": "${b}", "b": "${a}"},
        {"a": {"b": "${c}"}, "c": {"d": "x" * 10}},
        {"a": "${b.c}", "b": "${d}", "d": {"c": 1}},
        {"a": "${b.0.c}", "b": [{"c": "${d}"}], "d": 1},
        {"a": "${b}", "b": "x" * 2000},
        {"a": {"b": "${.c}", "c": 1}},
    ],
)
def test_references_that_could_stand_for_gigabytes_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="short values without references") as refused:
        check_trusted(config, Path("config.yaml"))
    assert len(str(refused.value)) < 600


def test_references_to_plain_values_are_trusted() -> None:
    plain = {"seed": 3, "rates": [0.5, None], "none": None}
    referring = {"a": "${seed}", "b": "${rates.0} ${rates.1}", "c": "${none}", "d": "${absent.x}"}
    check_trusted({**plain, "data": referring}, Path("config.yaml"))
