"""The test images of MNIST whose label is known to be wrong or undecidable.

C. G. Northcutt, A. Athalye and J. Mueller, *Pervasive Label Errors in Test Sets Destabilize Machine
Learning Benchmarks*, NeurIPS Datasets and Benchmarks 2021: five people voted on each candidate;
their votes are in `mturk/mnist_mturk.json` of github.com/cleanlab/label-errors. Indices count the
test images from 0. Some of the votes are themselves debatable.
"""

RELABELLED = (947, 1621, 1901, 2462, 2597, 3558, 5937, 6651, 6783, 9729)
"""Indices of images in which a majority saw another digit than the label."""
NEITHER = (2654, 3520, 9679)
"""… a majority saw neither the label nor the digit proposed instead."""
UNDECIDED = (2130, 8527)
"""… there was no majority."""

LABEL_ERRORS = tuple(sorted((*RELABELLED, *NEITHER, *UNDECIDED)))
