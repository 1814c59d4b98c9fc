"""regimen: prepare a pre-trained language model for a job, with the evidence that it does it."""

__version__ = "0.1.0"
