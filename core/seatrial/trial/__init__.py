"""The trial itself: which stages a command runs, in which order, on which targets."""
