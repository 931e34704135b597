"""Measurements that a performance claim may cite. Run with `make bench`."""
