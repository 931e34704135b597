"""Network architectures, built from code and a card, never from a pickle."""
