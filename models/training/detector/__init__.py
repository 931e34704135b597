"""Training the leukocyte detector."""
