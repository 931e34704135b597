"""A finished report in the formats others read."""
