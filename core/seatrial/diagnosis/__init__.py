"""Why an INT8 model is far from its float model: which layers, by how much, and what is wrong."""
