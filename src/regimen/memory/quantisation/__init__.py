"""Post-training quantisation for use and export, and tuning that knows of it."""
