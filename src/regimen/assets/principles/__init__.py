"""The shipped principles of AI feedback; see ``principles.yaml``."""
