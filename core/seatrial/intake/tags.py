"""Tags (field number and wire type) of the ONNX messages. Numbers: onnx/onnx.proto3."""

from __future__ import annotations

from .wire import bytes_tag, fixed32_tag, fixed64_tag, varint_tag

MODEL_IR, MODEL_PRODUCER, MODEL_PRODUCER_VERSION = varint_tag(1), bytes_tag(2), bytes_tag(3)
MODEL_GRAPH, MODEL_OPSET, MODEL_METADATA = bytes_tag(7), bytes_tag(8), bytes_tag(14)
MODEL_TRAINING, MODEL_FUNCTION = bytes_tag(20), bytes_tag(25)
TRAINING_START, TRAINING_STEP = bytes_tag(1), bytes_tag(2)
OPSET_DOMAIN, OPSET_VERSION = bytes_tag(1), varint_tag(2)
ENTRY_KEY, ENTRY_VALUE = bytes_tag(1), bytes_tag(2)
GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER = bytes_tag(1), bytes_tag(2), bytes_tag(5)
GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE, GRAPH_SPARSE = (bytes_tag(n) for n in (11, 12, 13, 15))
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP = (bytes_tag(n) for n in (1, 2, 3, 4))
NODE_ATTRIBUTE, NODE_DOMAIN, NODE_OVERLOAD = bytes_tag(5), bytes_tag(7), bytes_tag(8)
FUNCTION_NAME, FUNCTION_INPUT, FUNCTION_OUTPUT = bytes_tag(1), bytes_tag(4), bytes_tag(5)
FUNCTION_NODE, FUNCTION_OPSET = bytes_tag(7), bytes_tag(9)
FUNCTION_DOMAIN, FUNCTION_OVERLOAD = bytes_tag(10), bytes_tag(13)
ATTRIBUTE_NAME, ATTRIBUTE_F, ATTRIBUTE_I = bytes_tag(1), fixed32_tag(2), varint_tag(3)
ATTRIBUTE_S, ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH = bytes_tag(4), bytes_tag(5), bytes_tag(6)
ATTRIBUTE_FLOAT, ATTRIBUTE_FLOATS = fixed32_tag(7), bytes_tag(7)
ATTRIBUTE_INT, ATTRIBUTE_INTS = varint_tag(8), bytes_tag(8)
ATTRIBUTE_GRAPHS, ATTRIBUTE_SPARSE, ATTRIBUTE_SPARSES = (bytes_tag(n) for n in (11, 22, 23))
ATTRIBUTE_LISTS = {ATTRIBUTE_FLOAT, ATTRIBUTE_FLOATS, ATTRIBUTE_INT, ATTRIBUTE_INTS}
ATTRIBUTE_TENSORS = {ATTRIBUTE_TENSOR, bytes_tag(10), ATTRIBUTE_SPARSE, ATTRIBUTE_SPARSES}
ATTRIBUTE_SCALARS = {ATTRIBUTE_F, ATTRIBUTE_I, ATTRIBUTE_S}
TENSOR_DIM, TENSOR_DIMS, TENSOR_TYPE = varint_tag(1), bytes_tag(1), varint_tag(2)
TENSOR_NAME, TENSOR_METADATA = bytes_tag(8), bytes_tag(16)
TENSOR_ENTRY, TENSOR_LOCATION = bytes_tag(13), varint_tag(14)
#: tag -> (kind of data, in one piece)
TENSOR_DATA = {
    bytes_tag(9): ("raw", True),
    bytes_tag(6): ("string", True),
    bytes_tag(4): ("float", True),
    fixed32_tag(4): ("float", False),
    bytes_tag(5): ("int32", True),
    varint_tag(5): ("int32", False),
    bytes_tag(7): ("int64", True),
    varint_tag(7): ("int64", False),
    bytes_tag(10): ("double", True),
    fixed64_tag(10): ("double", False),
    bytes_tag(11): ("uint64", True),
    varint_tag(11): ("uint64", False),
}
SPARSE_VALUES, SPARSE_INDICES = bytes_tag(1), bytes_tag(2)
SPARSE_DIM, SPARSE_DIMS = varint_tag(3), bytes_tag(3)
VALUE_NAME, VALUE_TYPE = bytes_tag(1), bytes_tag(2)
TYPE_TENSOR, TYPE_SEQUENCE, TYPE_MAP = bytes_tag(1), bytes_tag(4), bytes_tag(5)
TYPE_SPARSE, TYPE_OPTIONAL = bytes_tag(8), bytes_tag(9)
ELEMENT_TYPE, MAP_KEY, MAP_VALUE = bytes_tag(1), varint_tag(1), bytes_tag(2)
TENSOR_ELEMENT, TENSOR_SHAPE = varint_tag(1), bytes_tag(2)
SHAPE_DIM, DIM_VALUE, DIM_PARAM = bytes_tag(1), varint_tag(1), bytes_tag(2)

#: Messages that nothing is taken from.
NODE_OTHER = {bytes_tag(9), bytes_tag(10)}
GRAPH_OTHER = {bytes_tag(14), bytes_tag(16)}
ATTRIBUTE_OTHER = {bytes_tag(14), bytes_tag(15)}
