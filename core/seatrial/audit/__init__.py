"""The audit of a calibration set: what is wrong with it, by image and by tensor.

It only reports: nothing that is found here, and nothing that the test set shows, goes into a
choice. Labels of a test set are never opened.
"""
