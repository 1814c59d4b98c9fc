"""Starter material written for this project: tasks, conversations, plain text."""
