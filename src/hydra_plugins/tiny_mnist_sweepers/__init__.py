"""The sweepers of tiny-mnist, in the one namespace from which Hydra takes plugins."""

from tiny_mnist.sweeps import grid_sweeper, optuna_sweeper


class GridSweeper(grid_sweeper.GridSweeper):
    """`hydra/sweeper=grid`: all combinations, ranked in a table."""


class OptunaSweeper(optuna_sweeper.OptunaSweeper):
    """`hydra/sweeper=optuna`: settings chosen by Optuna."""
