"""Latency: measured in interleaved rounds, reported with intervals, ranked only where they part."""
