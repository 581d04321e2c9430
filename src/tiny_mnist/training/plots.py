"""The training curves of a run."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tiny_mnist.evaluation.plots import EVALUATION, TRAIN
from tiny_mnist.runs.folder import Row


def curves(rows: list[Row], split: str) -> Figure:
    """Loss, accuracy and learning rate against the epoch; `split` is what each was evaluated on."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in rows]
    for name, colour in (("train", TRAIN), (split, EVALUATION)):
        for axes, quantity in ((loss, "loss"), (accuracy, "accuracy")):
            values = [row.get(f"{name}_{quantity}") for row in rows]
            points = [(e, v) for e, v in zip(epochs, values, strict=True) if v is not None]
            if points:
                axes.plot(*zip(*points, strict=True), "o-", ms=4, color=colour, label=name)
    loss.set(title="Loss", ylabel="negative log-likelihood", yscale="log")
    accuracy.set(title="Accuracy", ylabel="%")
    accuracy.margins(y=0.12)  # for the number above the last point
    if final := rows[-1].get(f"{split}_accuracy"):
        accuracy.annotate(
            f"{final:.2f} %", (rows[-1]["epoch"] or 0, final), (0, 6), textcoords="offset points",
            ha="right", color=EVALUATION,
        )  # fmt: skip
    rate.plot(epochs, [row["learning_rate"] for row in rows], "o-", ms=4, color="tab:green")
    rate.set(title="Learning rate at the start of the epoch", ylim=(0, None))
    for axes in (loss, accuracy, rate):
        axes.set(xlabel="epoch", xlim=(0.5, (rows[-1]["epoch"] or 0) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    for axes in (loss, accuracy):
        if axes.lines:
            axes.legend()
    return figure
