"""From a picture of handwriting to digits, without PyTorch."""
