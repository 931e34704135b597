"""One resource a file, no logic."""
