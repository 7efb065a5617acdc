"""Activation ranges from calibration samples, and the review of the calibration set."""
