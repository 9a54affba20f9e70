"""Parts of models: front-ends, mixers, blocks, heads. Knows no loss and no file format, and imports `core` alone."""

from malmoi.nn.backbone import Backbone, Block, ForeignBackbone
from malmoi.nn.frontends import CharacterCNN, TokenEmbedding
from malmoi.nn.heads import VocabularyHead
from malmoi.nn.lstm import LSTM
from malmoi.nn.model import Model
from malmoi.nn.trace import State, Trace

__all__ = ["LSTM", "Backbone", "Block", "CharacterCNN", "ForeignBackbone", "Model", "State", "TokenEmbedding", "Trace", "VocabularyHead"]
