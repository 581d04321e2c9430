"""The training curves of a run."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from tiny_mnist.evaluation.plots import EVALUATION, TRAIN
from tiny_mnist.runs.folder import Row


def plot_curves(rows: list[Row], split: str, rates: Sequence[float]) -> Figure:
    """Loss and accuracy against the epoch, and the learning rate of every step.

    Args:
        rows: the metrics of all epochs.
        split: the split that each epoch was evaluated on.
        rates: the learning rate of every step of these epochs.
    """
    figure = Figure(figsize=(12, 3.6))
    figure.subplots_adjust(left=0.065, right=0.99, bottom=0.14, top=0.91, wspace=0.2)
    loss, accuracy, rate = figure.subplots(1, 3)
    last = int(rows[-1]["epoch"] or 1)
    for name, colour in (("train", TRAIN), (split, EVALUATION)):
        for axes, quantity in ((loss, "loss"), (accuracy, "accuracy")):
            values = [(row["epoch"], row.get(f"{name}_{quantity}")) for row in rows]
            points = [(epoch, value) for epoch, value in values if value is not None]
            if points:
                axes.plot(*zip(*points, strict=True), "o-", ms=4, color=colour, label=name)
    loss.set(title="Loss", ylabel="negative log-likelihood", yscale="log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    loss.yaxis.set_minor_formatter(NullFormatter())
    accuracy.set(title="Accuracy", ylabel="%")
    accuracy.margins(y=0.12)  # for the number above the last point
    if final := rows[-1].get(f"{split}_accuracy"):
        accuracy.annotate(
            f"{final:.2f} %", (last, final), (0, 6), textcoords="offset points",
            ha="right", color=EVALUATION,
        )  # fmt: skip
    rate.plot([last * step / len(rates) for step in range(len(rates))], rates, color="tab:green")
    rate.set(title="Learning rate of each step", ylim=(0, None))
    for axes in (loss, accuracy, rate):
        axes.set(xlabel="epoch", xlim=(0, last + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    for axes, place in ((loss, "upper right"), (accuracy, "lower right")):
        if axes.lines:
            axes.legend(loc=place)
    return figure
