"""For vendors' tests: call hooks in this process, without a worker."""

from .local import LocalJob

__all__ = ["LocalJob"]
