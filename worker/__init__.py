"""Slide in, report out."""
