"""Row 7: parameter-efficient adaptation through the PEFT library."""
