"""Q/DQ insertion, the bake-off between candidates, and advice on whether INT8 can help."""
