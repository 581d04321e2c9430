"""Order and augmentation depend on (seed, epoch) alone, and no image is left out."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tiny_mnist.data.loaders import Batch, EvaluationLoader, Shard, TrainingLoader
from tiny_mnist.data.transforms import Augmentation
from tiny_mnist.training.metrics import LossAndAccuracy

ALL = 1000
IMAGES = torch.randint(256, (ALL, 28, 28), generator=torch.Generator().manual_seed(0)).byte()
NUMBERS = torch.arange(ALL)  # for labels, so that each image can be told from all others
EVERY_THIRD = NUMBERS[::3]
SHIFTING = Augmentation(15, 2)
WARPING = Augmentation(15, 2, scale=0.1, elastic=0.4, sampling="bicubic")


def training_loader(
    batch_size: int = 128,
    seed: int = 0,
    indices: Tensor = NUMBERS,
    augmentation: Augmentation = SHIFTING,
    shard: Shard = Shard(),  # noqa: B008 (immutable)
) -> TrainingLoader:
    return TrainingLoader(
        IMAGES,
        NUMBERS,
        indices,
        batch_size=batch_size,
        seed=seed,
        augmentation=augmentation,
        shard=shard,
    )


def epoch(loader: TrainingLoader, number: int = 0) -> Batch:
    """One epoch of a loader as a single batch."""
    loader.set_epoch(number)
    return joined(list(loader))


def joined(batches: list[Batch]) -> Batch:
    images, labels, params, _ = zip(*batches, strict=True)
    parts = [part for part in zip(*params, strict=True) if part[0] is not None]
    return Batch(
        torch.cat(images), torch.cat(labels), type(params[0])(*(torch.cat(p) for p in parts))
    )


def equal(one: Batch, other: Batch) -> bool:
    assert one.params is not None
    assert other.params is not None
    parts = ((*each[:2], *(p for p in each.params if p is not None)) for each in (one, other))
    pairs = zip(*parts, strict=True)
    return all(a.equal(b) for a, b in pairs)


def select(batch: Batch, indices: Tensor) -> Batch:
    assert batch.params is not None
    return Batch(batch.images[indices], batch.labels[indices], batch.params.select(indices))


def in_order_of_number(batch: Batch) -> Batch:
    return select(batch, batch.labels.argsort())


@pytest.mark.parametrize("batch_size", [7, 128, ALL, 2 * ALL])
@pytest.mark.parametrize("indices", [NUMBERS, EVERY_THIRD], ids=["all", "every third"])
def test_epoch_visits_each_used_image_once(batch_size: int, indices: Tensor) -> None:
    loader = training_loader(batch_size, indices=indices)
    batches = list(loader)
    sizes = [len(batch.labels) for batch in batches]
    assert len(batches) == len(loader)
    assert set(sizes[:-1]) <= {batch_size}
    assert joined(batches).labels.sort().values.equal(indices)


def test_images_keep_their_labels() -> None:
    batch = epoch(training_loader())
    assert batch.images.equal(IMAGES[batch.labels])


@pytest.mark.parametrize("other", [(0, 1), (1, 0)], ids=["epoch", "seed"])
def test_another_seed_or_epoch_gives_another_order_and_augmentation(
    other: tuple[int, int],
) -> None:
    first = epoch(training_loader(seed=0), 0)
    second = epoch(training_loader(seed=other[0]), other[1])
    assert not first.labels.equal(second.labels)
    first, second = in_order_of_number(first), in_order_of_number(second)
    assert first.params is not None
    assert second.params is not None
    assert (first.params.angles == second.params.angles).float().mean() < 0.01


@pytest.mark.parametrize("batch_size", [2, 100, ALL])
def test_order_and_augmentation_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    assert equal(epoch(training_loader(batch_size), 3), epoch(training_loader(), 3))


def test_epoch_does_not_depend_on_previous_epochs_or_global_generator() -> None:
    torch.manual_seed(0)
    fresh = epoch(training_loader(), 2)
    used = training_loader()
    for number in (5, 0, 1):
        epoch(used, number)
        torch.manual_seed(number)
    assert equal(epoch(used, 2), fresh)


def test_augmentation_of_an_image_does_not_depend_on_held_out_images() -> None:
    everything = epoch(training_loader())
    (kept,) = torch.isin(everything.labels, EVERY_THIRD).nonzero(as_tuple=True)
    assert equal(epoch(training_loader(indices=EVERY_THIRD)), select(everything, kept))


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("augmentation", [SHIFTING, WARPING], ids=["nearest", "bicubic"])
def test_shards_together_equal_the_batches_of_one_process(
    world_size: int, augmentation: Augmentation
) -> None:
    shares = [
        training_loader(shard=Shard(rank, world_size), augmentation=augmentation)
        for rank in range(world_size)
    ]
    for global_batch_size, *parts in zip(
        training_loader(augmentation=augmentation), *shares, strict=True
    ):
        assert equal(in_order_of_number(joined(parts)), in_order_of_number(global_batch_size))


def test_without_augmentation_there_are_no_parameters() -> None:
    loader = training_loader(augmentation=Augmentation())
    assert all(batch.params is None for batch in loader)


def test_evaluation_yields_all_images_in_order_without_augmentation() -> None:
    loader = EvaluationLoader(IMAGES, NUMBERS, batch_size=300)
    images, labels, params, _ = zip(*loader, strict=True)
    assert [len(part) for part in labels] == [300, 300, 300, 100]
    assert len(loader) == 4
    assert torch.cat(images).equal(IMAGES)
    assert torch.cat(labels).equal(NUMBERS)
    assert set(params) == {None}


def test_shards_evaluate_each_image_once() -> None:
    shares = [
        EvaluationLoader(IMAGES, NUMBERS, batch_size=300, shard=Shard(r, 3)) for r in range(3)
    ]
    batches = [batch for shard in shares for batch in shard]
    labels = torch.cat([batch.labels for batch in batches])
    assert torch.cat([batch.images for batch in batches]).equal(IMAGES[labels])
    assert labels.sort().values.equal(NUMBERS)
    assert {len(list(shard)) for shard in shares} == {len(shares[0])}


def test_loss_is_finite_when_a_batch_has_fewer_images_than_processes() -> None:
    loader = EvaluationLoader(IMAGES, NUMBERS % 10, batch_size=333, shard=Shard(1, 2))
    metrics = LossAndAccuracy()
    for _, labels, *_ in loader:
        log_probs = torch.zeros(len(labels), 10).log_softmax(dim=1)
        metrics.update(F.nll_loss(log_probs, labels), log_probs, labels)
    assert metrics.compute()["loss"] == pytest.approx(math.log(10))


def test_restored_loader_finishes_the_epoch_and_the_next_is_complete() -> None:
    loader = training_loader()
    wanted = list(loader)
    iterator = iter(loader)
    for _ in range(3):
        next(iterator)
    other = training_loader()
    other.load_state_dict(loader.state_dict())
    assert equal(joined(list(other)), joined(wanted[3:]))
    assert equal(epoch(other, 1), epoch(training_loader(), 1))
    # Lightning may ask for a new loader in each epoch, which gets the same state.
    again = training_loader()
    again.load_state_dict(loader.state_dict())
    assert equal(epoch(again, 1), epoch(training_loader(), 1))
