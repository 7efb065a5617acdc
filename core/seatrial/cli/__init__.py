"""The command line: one module per command, each with ``add_parser`` and ``run``.

Nothing heavy is imported before a command runs, so that ``--help`` is instant.
"""

from .app import main

__all__ = ["main"]
