"""What stands behind :mod:`seatrial.isolation`: parent and child of a job.

``guard``, ``calls`` and ``processes`` also run in the child or beside it: standard library only.
"""
