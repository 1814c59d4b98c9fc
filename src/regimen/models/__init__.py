"""Row 5: loading, ragged attention, and the head reducer."""
