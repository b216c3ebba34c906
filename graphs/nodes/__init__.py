"""Stock nodes for the usual work around models; Pillow and tokenizers are imported when a node is made."""

from graphs.nodes.images import DecodeImage, Normalise, Resize
from graphs.nodes.text import Tokenise
from graphs.nodes.top_k import TopK

__all__ = ["DecodeImage", "Normalise", "Resize", "Tokenise", "TopK"]
