"""Row 4: conversations become ids and masks, and rows become ragged batches."""
