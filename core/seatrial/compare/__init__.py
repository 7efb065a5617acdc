"""``compare``: what got better or worse between two reports, beyond noise.

Pure: reports in, one document out. Nothing is run and no toolchain is imported, so a baseline is
a plain file and a comparison takes a moment.
"""
