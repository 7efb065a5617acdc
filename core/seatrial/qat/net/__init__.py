"""What touches torch: the net that learns, its operators, the user's loader and the loop.

Only :mod:`seatrial.qat.child` imports these modules, inside its tasks: torch stays in the child.
"""
