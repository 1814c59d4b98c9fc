"""What a training will need, before it runs: memory by component, and the options that fit."""
