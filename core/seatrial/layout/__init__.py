"""Layout equivalence: the transformed model must give the same results."""
