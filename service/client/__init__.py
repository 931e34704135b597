"""A client of a running service, and the commands that use it."""
