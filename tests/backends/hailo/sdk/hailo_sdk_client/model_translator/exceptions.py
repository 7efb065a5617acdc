"""Exceptions of the parser, under the module from which public exporters import them."""


class UnsupportedModelError(Exception):
    """Imported by the public exporters from this module."""


class MisspellNodeError(Exception):
    """Raised for a start or end node that the model does not have."""


class ParsingWithRecommendationException(Exception):
    """Errors per node, then ``Please try to parse the model again, using these end node names``.

    Two public scripts read ``recommended_end_node_names`` of it.
    """

    def __init__(self, text, ends=None):
        super().__init__(text)
        if ends is not None:
            self.recommended_end_node_names = ends
