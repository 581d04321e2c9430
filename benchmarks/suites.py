"""The suites: which programs are compared."""

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Contestant:
    """One way to train.

    Args:
        label: the name of its row in the table.
        module: the program in this package that measures it.
        settings: the arguments of its `Job` other than steps and files.
        needs: the optional modules without which it is skipped.
        environment: the environment variables of its process.
    """

    label: str
    module: str
    settings: dict[str, Any]
    needs: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


SPEED = {
    **{
        f"original-{workers}{'' if tensors else '-pil'}": Contestant(
            f"the original's way, {workers} workers" + ("" if tensors else ", PIL"),
            "original",
            {"workers": workers, "tensors": tensors},
        )
        for workers, tensors in ((4, True), (2, True), (0, True), (4, False))
    },
    "keras": Contestant("Keras 3 on JAX", "keras_version", {}, needs=("keras", "jax")),
    "program": Contestant("train.py", "program", {}),
    "bare-augmented": Contestant("bare loop, augmenting", "bare_loop", {"augment": True}),
    "bare": Contestant("bare loop", "bare_loop", {}),
    "floor": Contestant("arithmetic floor", "floor", {}),
}
WHOLE_RUN = {
    "original-4": replace(
        SPEED["original-4"], settings={"workers": 4, "tensors": True, "evaluate": True}
    ),
    "whole-run": Contestant("train.py, command to prompt", "whole_run", {}),
}

SHORT_RUNS = {
    name: Contestant(f"experiment={name}", "whole_run", {"overrides": [f"experiment={name}"]})
    for name in ("fast_99", "fast_994")
}
START = {
    "imports": Contestant(
        "import lightning, torchvision", "start", {"trying": "import lightning, torchvision"}
    ),
    "program": Contestant("train.py, to its first step", "start", {}),
}
LEVERS = {
    "all": SPEED["bare-augmented"],
    **{
        f"without {name}": replace(
            SPEED["bare-augmented"],
            label=f"without {name}",
            settings={"augment": True, "without": name},
        )
        for name in (
            "kept memory", "oneDNN's layout", "either layout", "fused optimizer",
        )
    },
    "without augmentation": replace(SPEED["bare"], label="without augmentation"),
    "huge pages": replace(
        SPEED["bare-augmented"],
        label="with huge pages",
        environment={"THP_MEM_ALLOC_ENABLE": "1"},  # PyTorch asks the kernel for them
    ),
    "bfloat16": replace(
        SPEED["bare-augmented"],
        label="with bfloat16",
        settings={"augment": True, "trying": "bfloat16"},
    ),
}  # fmt: skip
BATCHES = (32, 128, 512, 2048)
MODES = {
    "1 thread": ({"OMP_NUM_THREADS": "1"}, []),
    "2 threads": ({"OMP_NUM_THREADS": "2"}, []),
    "2 processes of 1 thread": (
        {"OMP_NUM_THREADS": "1"}, ["trainer=ddp", "trainer.devices=2"],
    ),
}  # fmt: skip
SCALING = {
    f"{mode} batch {batch}": Contestant(
        f"{mode}, batch {batch}",
        "program",
        {"batch": batch, "overrides": overrides},
        environment=environment,
    )
    for batch in BATCHES
    for mode, (environment, overrides) in MODES.items()
}
SUITES = {
    "speed": SPEED, "levers": LEVERS, "scaling": SCALING, "start": START, "whole-run": WHOLE_RUN,
    "short-runs": SHORT_RUNS,
}  # fmt: skip
