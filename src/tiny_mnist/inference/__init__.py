"""From a picture of handwriting to digits, without PyTorch unless the network is that of a run."""
