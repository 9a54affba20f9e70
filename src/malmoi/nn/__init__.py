"""Parts of models: front-ends, mixers, blocks, heads. Knows no loss and no file format, and imports `core` alone."""

from malmoi.nn.attention import Attention, CrossAttention
from malmoi.nn.backbone import MLP, AttentionBlock, Backbone, Block, ForeignBackbone, Identity
from malmoi.nn.frontends import CharacterCNN, SoftOneHot, TokenEmbedding
from malmoi.nn.heads import PairHead, ReplacedHead, VocabularyHead
from malmoi.nn.init import initialize
from malmoi.nn.lstm import LSTM
from malmoi.nn.model import Model
from malmoi.nn.trace import Layout, State, Trace

__all__ = [
    "LSTM",
    "MLP",
    "Attention",
    "AttentionBlock",
    "Backbone",
    "Block",
    "CharacterCNN",
    "CrossAttention",
    "ForeignBackbone",
    "Identity",
    "Layout",
    "Model",
    "PairHead",
    "ReplacedHead",
    "SoftOneHot",
    "State",
    "TokenEmbedding",
    "Trace",
    "VocabularyHead",
    "initialize",
]
