"""Hold training images out of a sweep that would otherwise select on the test images."""

from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf

from tiny_mnist.sweeps.plan import Job, SweepPlan

HOLDOUT_SIZE = 5000  # images
HOLDOUT_NOTE = (
    f"Ranking on {HOLDOUT_SIZE:,} held-out training images, so that nothing is selected on the "
    "test images (data.val_size=… for another number)"
)


def compose_with_holdout(
    plan: SweepPlan, jobs: list[Job], is_search: bool = False
) -> tuple[list[Job], list[DictConfig]]:
    """Compose the jobs of a sweep; add `data.val_size` to the plan and to all jobs if needed.

    Args:
        plan: the plan of the sweep.
        jobs: the overrides of each job.
        is_search: whether the sweep selects settings even if these jobs have the same ones.

    Returns:
        The jobs, with the override that was added, and their configurations.

    Raises:
        UserError: a setting is refused.
    """
    configs = [plan.compose(job) for job in jobs]
    if needs_holdout(plan, configs, is_search):
        print(HOLDOUT_NOTE)
        override = f"data.val_size={HOLDOUT_SIZE}"
        plan.add_override(override)
        jobs = [[*job, override] for job in jobs]
        configs = [plan.compose(job) for job in jobs]
    return jobs, configs


def needs_holdout(plan: SweepPlan, configs: list[DictConfig], is_search: bool) -> bool:
    """Whether the jobs of a sweep select settings, and would do so on the test images.

    A `data.val_size` of the user's own is respected. Images of a data module without that key
    cannot be held out.
    """
    if "data.val_size" in plan.keys or all(map(holds_out, configs)):
        return False
    if any(OmegaConf.select(config, "data.val_size") is None for config in configs):
        return False
    return is_search or differ_in_settings(configs)


def holds_out(config: DictConfig) -> bool:
    """Whether a run holds training images out: some of them, or one fold."""
    return any(OmegaConf.select(config, f"data.{key}") for key in ("val_size", "folds"))


def differ_in_settings(configs: Iterable[DictConfig]) -> bool:
    """Whether configurations differ in more than their seeds.

    Interpolations are compared unresolved, so `${seed}` makes no difference.
    """
    texts = {
        OmegaConf.to_yaml(OmegaConf.masked_copy(config, [str(n) for n in config if n != "seed"]))
        for config in configs
    }
    return len(texts) > 1
