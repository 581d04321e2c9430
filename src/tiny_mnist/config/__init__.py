"""What a configuration may hold, and how a saved one is read back."""
