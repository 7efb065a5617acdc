"""``repro``: the smallest model that still shows what a target does, for its vendor."""
