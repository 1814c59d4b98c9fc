"""Row 10: the one loop, schedules, optimizers and checkpoints. Only this row calls backward."""
