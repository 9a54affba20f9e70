"""From traces to vectors: layers, scalar mix, pooling, states, neighbours, and the files that `malmoi embed` writes; and to texts."""

from malmoi.readout.encoder import Encoder
from malmoi.readout.generate import Sampling, Writer
from malmoi.readout.layers import Pool, ScalarMix
from malmoi.readout.neighbours import Neighbour, neighbours
from malmoi.readout.states import StateMode, warm_state
from malmoi.readout.static import StaticEncoder
from malmoi.readout.tokens import TokenEncoder
from malmoi.readout.translate import Search, Translator
from malmoi.readout.writers import write_vectors

__all__ = [
    "Encoder",
    "Neighbour",
    "Pool",
    "Sampling",
    "ScalarMix",
    "Search",
    "StateMode",
    "StaticEncoder",
    "TokenEncoder",
    "Translator",
    "Writer",
    "neighbours",
    "warm_state",
    "write_vectors",
]
