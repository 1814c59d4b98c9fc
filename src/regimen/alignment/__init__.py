"""Row 11: alignment: references, preference data, rewards."""
