"""Tasks: what a model's outputs mean, and how good they are, the same for every rung."""
