"""Every bound of the intake in one place, and why it is where it is."""

from __future__ import annotations

#: protobuf cannot represent a message of 2 GiB or more: such a file is refused from its size.
MAX_MODEL_BYTES = 2**31 - 1

#: Nodes, tensors, values and entries of one file. Several times the largest unrolled networks
#: seen; keeps the facts of a hostile file within the memory bound.
MAX_OBJECTS = 160_000

#: Fields read from one file: bounds the time of a file made of the smallest possible fields.
MAX_FIELDS = 4_000_000

#: Bytes of names, attributes and small constants kept from one file.
MAX_KEPT_BYTES = 48 * 2**20

#: Characters of all node labels together: a label repeats the names of the nodes around it.
MAX_LABELS = 48 * 2**20

#: One name. Real ones stay under a few hundred characters; the report truncates long ones.
MAX_NAME_BYTES = 2**20

#: Nesting of control flow. protobuf's own limit of 100 messages is reached at 33.
MAX_GRAPH_DEPTH = 40

#: Nesting of sequence, optional and map types.
MAX_TYPE_DEPTH = 32

#: Depth of calls between model-local functions. Runtimes inline recursively: 3000 overflow the
#: stack of at least one of them; exporters stay under 30.
MAX_CALL_DEPTH = 256

#: Nodes after every function call is expanded.
MAX_EXPANDED_NODES = 1_000_000

#: Elements of a list-valued attribute that are kept for the rules; longer lists are counted only.
MAX_LIST = 4096

#: Elements of a constant that the size rules compute with.
MAX_KNOWN_VALUES = 64

#: One tensor whose size follows from constants of the model alone.
MAX_TENSOR_BYTES = 8 * 2**30

#: Dimensions of one tensor.
MAX_RANK = 64

#: Separate files of external data.
MAX_EXTERNAL_FILES = 20_000

#: Newest operator set and file version when this was written, and how far beyond it a file may
#: be before the number is taken for garbage rather than for a newer release.
KNOWN_OPSET, MAX_OPSET = 28, 60
KNOWN_IR, MAX_IR = 14, 30

#: Seconds spent looking for NaN and infinity in weights, then a note says how far it came.
WEIGHT_SECONDS = 60.0

#: Names listed in a fact or a note before "and N more".
MAX_LISTED = 64

#: Bytes per read.
CHUNK = 2**22
