"""What the demo runs on: the starter material and the tiny base model."""
