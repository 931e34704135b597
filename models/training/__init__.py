"""Training and evaluation. Imported only by the command line, lazily."""
