"""Contract, exports and command line: everything that runs without torch."""
