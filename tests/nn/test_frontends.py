"""Front-ends: the character CNN against a slow one that reads all the padding, and unknown words of the token embedding."""

import numpy as np
import pytest
import torch

from malmoi.core.batch import Batch
from malmoi.core.recipe import CharacterCNNSpec, TokenEmbeddingSpec
from malmoi.nn import CharacterCNN, TokenEmbedding

PAD, LENGTH = 20, 16


def cnn(activation="relu", highway=2, filters=((1, 3), (3, 5), (5, 4)), width=6):
    torch.manual_seed(0)
    spec = CharacterCNNSpec(width=4, filters=filters, activation=activation, highway=highway)
    part = CharacterCNN(spec, width=width, characters=21, pad=PAD)
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter)
    return part


def spelt(words=12):
    """Words of 1 to 14 characters, padded to 16; one fills its row."""
    generator = np.random.default_rng(1)
    characters = np.full((words, LENGTH), PAD)
    for row, length in enumerate([*generator.integers(1, 15, words - 1), LENGTH]):
        characters[row, :length] = generator.integers(0, PAD, length)
    return torch.from_numpy(characters)


def slow(part, characters, activation):
    """Every filter at every one of the 16 positions, padding included, in float64 loops."""
    weight = {name: parameter.detach().double().numpy() for name, parameter in part.named_parameters()}
    vectors = []
    for word in characters.numpy():
        letters = weight["embedding"][word]
        pooled = []
        for index in range(len(part.convolutions)):
            kernel, bias = weight[f"convolutions.{index}.weight"], weight[f"convolutions.{index}.bias"]
            wide = kernel.shape[2]
            windows = [letters[start : start + wide].T for start in range(LENGTH - wide + 1)]
            pooled += [max(float((kernel[f] * window).sum() + bias[f]) for window in windows) for f in range(len(kernel))]
        x = np.maximum(pooled, 0.0) if activation == "relu" else np.tanh(pooled)
        for index in range(len(part.highways)):
            name = f"highways.{index}"
            gate = 1.0 / (1.0 + np.exp(-(weight[f"{name}.gate.weight"] @ x + weight[f"{name}.gate.bias"])))
            x = gate * np.maximum(weight[f"{name}.transform.weight"] @ x + weight[f"{name}.transform.bias"], 0.0) + (1.0 - gate) * x
        vectors.append(weight["projection.weight"] @ x + weight["projection.bias"] if "projection.weight" in weight else x)
    return np.array(vectors)


@pytest.mark.parametrize("settings", [{}, {"activation": "tanh", "highway": 1}, {"highway": 0}, {"width": 12}])
def test_the_character_cnn_is_the_slow_one(settings):
    part, characters = cnn(**settings), spelt()
    expected = slow(part, characters, settings.get("activation", "relu"))
    np.testing.assert_allclose(part.spell(characters).detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_the_padding_that_is_left_out_changes_nothing():
    """Also values whose maximum is a window of nothing but padding: the padding is a learned character and takes part."""
    part = cnn()
    with torch.no_grad():
        part.embedding[PAD] = 5.0 * torch.sign(part.convolutions[2].weight[0, :, 0])
    short = spelt()[:11]
    short[:, 6:] = PAD
    more = torch.cat([short, torch.full((11, 30), PAD)], dim=1)
    torch.testing.assert_close(part.spell(short), part.spell(more), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(part.spell(short).detach().numpy(), slow(part, short, "relu"), rtol=1e-4, atol=1e-4)


def test_a_word_does_not_depend_on_its_neighbours_in_the_table():
    part, characters = cnn(), spelt()
    together = part.spell(characters)
    order = torch.randperm(len(characters), generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(part.spell(characters[order]), together[order], rtol=1e-5, atol=1e-6)
    for row in range(len(characters)):
        torch.testing.assert_close(part.spell(characters[row : row + 1])[0], together[row], rtol=1e-5, atol=1e-5)


def test_words_are_put_where_they_stand():
    part, characters = cnn(), spelt()
    words = torch.tensor([[0, 3, 3], [5, 0, 11]])
    x_RTD = part(Batch(ids=words, segments=words, positions=words, words=words, characters=characters))
    torch.testing.assert_close(x_RTD, part.spell(characters)[words])


def test_words_past_the_output_vocabulary_are_unknown_at_the_input_too():
    part = TokenEmbedding(TokenEmbeddingSpec(), size=10, width=4, unknown=2)
    ids = torch.tensor([[0, 9, 10, 500]])
    x_RTD = part(Batch(ids=ids, segments=ids, positions=ids))
    assert torch.equal(x_RTD[0], part.weight[torch.tensor([0, 9, 2, 2])])
