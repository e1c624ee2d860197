"""Progress for commands that have none."""
