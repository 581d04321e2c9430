"""Every number of every configuration group, set to anything, works or is refused in one line."""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.utils import instantiate
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from support.program import run_program
from tiny_mnist.config.loading import resolve_config
from tiny_mnist.config.schema import validate
from tiny_mnist.errors import format_error
from tiny_mnist.runs.folder import RunFolder
from tiny_mnist.training.builders import build_trainer
from tiny_mnist.training.checks import check_memory
from tiny_mnist.training.lit_module import LitClassifier

Compose = Callable[..., DictConfig]
OPTIONS = (
    (),
    ("trainer=ddp", "trainer.accelerator=cpu"),
    *(
        pytest.param(options, marks=pytest.mark.slow)
        for options in (
            ("optim=adamw",), ("trainer=cpu",), ("experiment=holdout",), ("debug=limit",),
            ("debug=overfit",), ("debug=batch",), ("debug=profiler",),
        )
    ),
)  # fmt: skip

FUZZED = "configurations fuzzed, each refused in one line or good to run"
EXAMPLES = 20  # of each of the options

NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2, 3, 127, 2**31, 2**32, 2**63, -(2**63), 10**30]),
    st.sampled_from([0.0, -0.0, 0.1, 0.5, 1.0, 1.5, -0.1, 1e-9, 1e-300, 5e-324, 1e9, 1e300]),
    st.sampled_from([math.nan, math.inf, -math.inf]),
    st.sampled_from([None, True, False, "", "8", "many", "nan", "1e3", [], [1], [2, "a"], {}]),
    st.integers(),
    st.integers(0, 2000),
    st.floats(),
    st.floats(0, 1),
)


def numbers(node: Any, key: str = "") -> Iterator[str]:
    """The keys of all numbers, and of what may be one."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from numbers(value, f"{key}.{name}".lstrip("."))
    elif node is None or (isinstance(node, int | float) and not isinstance(node, bool)):
        yield key


def build(config: dict[str, Any]) -> None:
    """Build all that a run builds from a configuration, up to its first step."""
    validate(config)
    node = OmegaConf.create(config)
    network = instantiate(node.model)
    check_memory(network, node.data.batch_size)
    instantiate(node.data)
    classifier = LitClassifier(
        network,
        instantiate(node.optim.optimizer),
        instantiate(node.optim.scheduler),
        interval=node.optim.interval,
    )
    trainer = build_trainer(node, RunFolder("run"), logger=False)
    data = validate(config).data
    batches = math.ceil((data.train_size or 60_000 - data.val_size) / data.batch_size)
    limit = config["trainer"].get("limit_train_batches", 1.0)
    batches = min(batches, limit) if isinstance(limit, int) else max(1, int(batches * limit))
    steps = batches * trainer.max_epochs
    classifier._trainer = SimpleNamespace(  # type: ignore[assignment]
        estimated_stepping_batches=steps, max_epochs=trainer.max_epochs
    )
    made: Any = classifier.configure_optimizers()
    scheduler = made["lr_scheduler"]["scheduler"]
    made["optimizer"].step()
    for step in {0, 1, int(config["optim"]["scheduler"]["pct_start"] * steps), steps - 2, steps}:
        scheduler.last_epoch = min(max(step - 1, -1), scheduler.total_steps)
        classifier.lr_scheduler_step(scheduler, None)
        (rate,) = scheduler.get_last_lr()
        assert math.isfinite(rate)
        assert rate >= 0


def put(config: dict[str, Any], key: str, value: Any) -> None:
    """Set a value by its key as on the command line."""
    *path, name = key.split(".")
    for part in path:
        config = config[part]
    config[name] = value


def check_built_or_refused(config: dict[str, Any]) -> None:
    """All of a run can be built from it, or one line says why not."""
    try:
        build(config)
    except Exception as error:
        message = format_error(error)
        if message is None:
            raise
        assert "\n" not in message
        assert len(message) < 600


@pytest.fixture(scope="module", params=OPTIONS, ids=" ".join)
def composed(request: pytest.FixtureRequest, compose: Compose) -> dict[str, Any]:
    """The configuration of some options."""
    return resolve_config(compose(*request.param))


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(draw=st.data())
def test_any_number_works_or_is_refused_in_one_line(
    composed: dict[str, Any], count: Counter[str], draw: st.DataObject
) -> None:
    config = deepcopy(composed)
    for key in draw.draw(st.lists(st.sampled_from([*numbers(config)]), min_size=1, max_size=2)):
        put(config, key, draw.draw(NUMBERS, label=key))
    check_built_or_refused(config)
    count[FUZZED] += 1


@pytest.mark.parametrize("value", [-1, 0, 1e300, -1e300, math.nan, math.inf, "x", None, [], True])
def test_every_number_takes_each_bad_value_in_one_line(
    composed: dict[str, Any], count: Counter[str], value: Any
) -> None:
    for key in numbers(composed):
        config = deepcopy(composed)
        put(config, key, value)
        check_built_or_refused(config)
        count[FUZZED] += 1


@pytest.mark.slow
def test_configurations_that_fuzzing_found_are_refused_in_one_line(compose: Compose) -> None:
    found = (
        # OneCycleLR divides by the length of its first phase, which is 0 here.
        ["optim.scheduler.pct_start=1.0", "debug=batch"],
        [
            "optim.scheduler.pct_start=0.1",
            "trainer.limit_train_batches=10",
            "trainer.max_epochs=1",
        ],
        # Needs more memory than there is: the kernel would kill the process without a word.
        ["model.width=512", "data.batch_size=60000"],
    )
    for overrides in found:
        with pytest.raises(Exception) as raised:  # noqa: PT011
            build(resolve_config(compose(*overrides)))
        assert format_error(raised.value), overrides


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_the_program_refuses_a_bad_number_in_one_line_and_leaves_nothing(
    compose: Compose, tmp_path: Path, number: int, count: Counter[str]
) -> None:
    dice = random.Random(number)
    key = dice.choice([*numbers(resolve_config(compose()))])
    value = dice.choice(["-1", "nan", "inf", "1e300", "many", "[]", "{}", "99999999999999999999"])
    done = run_program(
        "debug=batch", "trainer=cpu", f"{key}={value}", "hydra.run.dir=run", folder=tmp_path
    )
    count[FUZZED] += 1
    if done.status == 0:
        assert (tmp_path / "run" / "summary.json").exists(), (key, value)
        return
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert not (tmp_path / "run").exists(), (key, value)
