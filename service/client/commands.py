"""The commands that talk to a running service."""

from service.client.rescanning import batches, rescan
from service.client.submitting import submit

__all__ = ["batches", "rescan", "submit"]
