"""The ladder: every step from the float model to the device, measured on the same samples."""
