"""Speed of training and inference, measured side by side with other programs."""
