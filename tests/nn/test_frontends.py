"""Front-ends: the character CNN against a slow one that reads all the padding, and unknown words of the token embedding."""

import math

import numpy as np
import pytest
import torch

from malmoi.core.batch import Batch
from malmoi.core.recipe import CharacterCNNSpec, SoftOneHotSpec, TokenEmbeddingSpec
from malmoi.nn import CharacterCNN, SoftOneHot, TokenEmbedding
from malmoi.nn.frontends import sinusoids

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


def row_of(ids, **parts):
    ids = torch.tensor([ids])
    return Batch(ids=ids, segments=torch.ones_like(ids), positions=torch.arange(ids.shape[1])[None], **parts)


def test_sinusoids_are_the_formula():
    found = sinusoids(40, 6).numpy()
    for place, column in np.ndindex(40, 6):
        angle = place / 10_000 ** (2 * (column // 2) / 6)
        assert found[place, column] == pytest.approx(math.sin(angle) if column % 2 == 0 else math.cos(angle), abs=1e-6)
    assert sinusoids(4, 5).shape == (4, 5)


@pytest.mark.parametrize("positions", ["none", "learned", "sinusoidal", "rotary"])
@pytest.mark.parametrize("types", [0, 2])
@pytest.mark.parametrize("scale", [False, True])
def test_what_is_added_to_a_token(positions, types, scale):
    torch.manual_seed(0)
    spec = TokenEmbeddingSpec(positions=positions, length=7, types=types, norm=True, scale=scale)
    part = TokenEmbedding(spec, size=10, width=6, unknown=1, epsilon=1e-3)
    batch = row_of([4, 9, 0, 3], types=torch.tensor([[0, 0, 1, 1]]) if types else None)
    x = part.weight[batch.ids] * (math.sqrt(6) if scale else 1.0)
    if types:
        x = x + part.types[batch.types]
    if positions == "learned":
        x = x + part.positions[:4]
    if positions == "sinusoidal":
        x = x + sinusoids(7, 6)[:4]
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(part(batch), x, rtol=1e-4, atol=1e-5)
    assert (part.positions is not None) == (positions == "learned") and (part.types is not None) == bool(types)


def test_rows_without_types_are_of_type_0():
    part = TokenEmbedding(TokenEmbeddingSpec(types=2), size=10, width=6, unknown=1)
    zeros = torch.zeros(1, 3, dtype=torch.int64)
    assert torch.equal(part(row_of([1, 2, 3])), part(row_of([1, 2, 3], types=zeros)))
    assert not torch.equal(part(row_of([1, 2, 3])), part(row_of([1, 2, 3], types=zeros + 1)))


def test_a_factorized_embedding_is_projected_to_the_width():
    part = TokenEmbedding(TokenEmbeddingSpec(width=3, positions="learned", length=8), size=10, width=6, unknown=1)
    assert part.weight.shape == (10, 3) and part.positions.shape == (8, 3)
    batch = row_of([4, 9])
    expected = (part.weight[batch.ids] + part.positions[:2]) @ part.projection.weight.T + part.projection.bias
    torch.testing.assert_close(part(batch), expected)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_a_position_that_the_model_does_not_know_is_refused(positions):
    part = TokenEmbedding(TokenEmbeddingSpec(positions=positions, length=4), size=10, width=6, unknown=1)
    part(row_of([1, 2, 3, 4]))
    with pytest.raises(ValueError, match="position 4 of a model that knows 4"):
        part(row_of([1, 2, 3, 4, 5]))


def test_a_generator_shares_table_positions_types_and_norm_but_not_the_projection():
    spec = TokenEmbeddingSpec(positions="learned", types=2, norm=True, length=8)
    model = TokenEmbedding(spec, size=10, width=8, unknown=1)
    small = TokenEmbedding(spec, size=10, width=4, unknown=1, like=model)
    for name in ("weight", "positions", "types", "norm"):
        assert getattr(small, name) is getattr(model, name)
    assert isinstance(model.projection, torch.nn.Identity) and small.projection.weight.shape == (4, 8)
    assert small(row_of([1, 2])).shape == (1, 2, 4)


def test_dropout_of_a_front_end_stands_behind_the_norm():
    part = TokenEmbedding(TokenEmbeddingSpec(norm=True), size=10, width=64, unknown=1, dropout=0.5)
    batch = row_of([3] * 50)
    torch.manual_seed(0)
    dropped, whole = part.train()(batch), part.eval()(batch)
    kept = dropped != 0
    assert 0.4 < float(kept.float().mean()) < 0.6
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])


def test_a_soft_one_hot_is_the_formula():
    torch.manual_seed(0)
    part = SoftOneHot(SoftOneHotSpec(bins=4), width=3)
    values = torch.tensor([[0.0, 2.5, -2.5, 1000.0]])
    found = part(row_of([0, 0, 0, 0], values=values)).detach().numpy()
    w, b, table = (each.detach().double().numpy() for each in (part.choice.weight[:, 0], part.choice.bias, part.weight))
    for place, value in enumerate(values[0].tolist()):
        logits = math.copysign(math.log1p(abs(value)), value) * w + b
        share = np.exp(logits - logits.max())
        np.testing.assert_allclose(found[0, place], share / share.sum() @ table, rtol=1e-5, atol=1e-6)


def test_a_soft_one_hot_learns_bins_in_the_order_of_the_numbers():
    """Told which third of a range a number is from, the expected bin rises with the number, and gradients reach every part."""
    torch.manual_seed(0)
    part = SoftOneHot(SoftOneHotSpec(bins=3), width=3)
    values = torch.linspace(0, 20, 60)[None]
    wanted = torch.bucketize(values.log1p(), torch.tensor([1.0, 2.2]))[0]
    optimizer = torch.optim.Adam(part.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        vectors = part(row_of([0] * 60, values=values))[0]
        torch.nn.functional.cross_entropy(8 * vectors, wanted).backward()
        assert all(parameter.grad.any() for parameter in part.parameters())
        optimizer.step()
    chosen = part.bins(values)[0].softmax(-1).detach()
    centre = {bin: float((chosen[:, bin] * values[0]).sum() / chosen[:, bin].sum()) for bin in range(3)}
    order = sorted(centre, key=centre.__getitem__)
    rank = (chosen * torch.tensor([float(order.index(bin)) for bin in range(3)])).sum(1)
    assert (rank.diff() > -1e-6).all() and float(rank[-1] - rank[0]) > 1.0
