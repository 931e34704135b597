"""Telling a laboratory system that a scan has ended."""
