"""A 9,594-parameter convolutional network on MNIST, with PyTorch Lightning and Hydra."""
