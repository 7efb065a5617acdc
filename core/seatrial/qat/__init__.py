"""Quantisation-aware training of a model's own ONNX graph, with the user's loss and loader.

The net that learns is the prepared float graph (batch normalisation folded), run by torch, with a
fake quantiser on exactly the tensors on which Q/DQ insertion will put a pair. What was learnt, the
weights and the steps of the activations, goes through the same insertion as any other candidate.
Whatever the exported model computes is therefore what was trained, in every Q/DQ dialect.

Records and settings are standard library only; everything that touches torch runs in a child.
"""
