"""Readers of whole-slide images behind one protocol."""
