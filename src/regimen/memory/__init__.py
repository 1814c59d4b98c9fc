"""Row 8: memory-efficient adaptation: quantised bases and checkpointing."""
