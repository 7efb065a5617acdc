"""A report that may leave the house: what is secret goes, what proves the verdict stays."""
