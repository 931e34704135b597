"""What runs in the rivals' own environment; nothing here is imported by smearscan."""
