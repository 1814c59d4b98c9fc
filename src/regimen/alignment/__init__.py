"""Row 11: alignment: references, what rows a method learns from, preference data, rewards."""
