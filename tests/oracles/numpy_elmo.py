"""The original ELMo (bilm-tf) in plain numpy: one sentence, one word, one time step after the other, in float64.

An oracle: slow, and written from the description of the file format alone, without any of malmoi's code. `checkpoint` makes random
weights of any shape in that format.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

BOS, EOS, BEGIN, END, PAD = 256, 257, 258, 259, 260
Layers = np.ndarray
State = dict[tuple[int, int, int], tuple[np.ndarray, np.ndarray]]
"""(row, direction, layer) -> (cell, output); rows that are not there are zero."""


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def clip(x: np.ndarray, limit: float | None) -> np.ndarray:
    return x if limit is None else np.clip(x, -limit, limit)


class NumpyElmo:
    """options as in options.json, weights as in the HDF5 file (names with slashes)."""

    def __init__(self, options: dict[str, Any], weights: dict[str, np.ndarray]) -> None:
        self.options = options
        self.weights = {name: value.astype(np.float64) for name, value in weights.items()}
        self.layers = options["lstm"].get("n_layers", 1)
        self.dim = options["lstm"]["dim"]
        self.width = options["lstm"]["projection_dim"]

    def spell(self, word: str) -> list[int]:
        """Bytes of a word between begin and end, cut in the middle of a character if need be, padded."""
        length = self.options["char_cnn"]["max_characters_per_token"]
        units = {"<S>": [BOS], "</S>": [EOS]}.get(word, list(word.encode()[: length - 2]))
        spelt = [BEGIN, *units, END]
        return spelt + [PAD] * (length - len(spelt))

    def token(self, word: str) -> np.ndarray:
        """Vector of a word without its context, (width,)."""
        cnn = self.options["char_cnn"]
        activation = {"relu": lambda x: np.maximum(x, 0.0), "tanh": np.tanh}[cnn["activation"]]
        letters = self.weights["char_embed"][self.spell(word)]
        found = []
        for number, (wide, _) in enumerate(cnn["filters"]):
            kernel, bias = self.weights[f"CNN/W_cnn_{number}"][0], self.weights[f"CNN/b_cnn_{number}"]
            steps = [bias + sum(letters[start + k] @ kernel[k] for k in range(wide)) for start in range(len(letters) - wide + 1)]
            found.append(activation(np.max(steps, axis=0)))
        x = np.concatenate(found)
        for number in range(cnn.get("n_highway") or 0):
            part = {name: self.weights[f"CNN_high_{number}/{name}"] for name in ("W_carry", "b_carry", "W_transform", "b_transform")}
            gate = sigmoid(x @ part["W_carry"] + part["b_carry"])
            x = gate * np.maximum(x @ part["W_transform"] + part["b_transform"], 0.0) + (1.0 - gate) * x
        if "CNN_proj/W_proj" in self.weights:
            x = x @ self.weights["CNN_proj/W_proj"] + self.weights["CNN_proj/b_proj"]
        return x

    def run(self, inputs: np.ndarray, row: int, direction: int, state: State) -> list[np.ndarray]:
        """Every layer over the inputs (n, width) in their order; the state of the row goes on from and into `state`."""
        options, outputs = self.options["lstm"], []
        for layer in range(self.layers):
            root = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/"
            kernel, bias, projection = self.weights[root + "W_0"], self.weights[root + "B"], self.weights.get(root + "W_P_0")
            c, h = state.get((row, direction, layer), (np.zeros(self.dim), np.zeros(self.width)))
            steps = []
            for x in inputs:
                i, j, f, o = np.split(np.concatenate([x, h]) @ kernel + bias, 4)
                c = clip(sigmoid(f + 1.0) * c + sigmoid(i) * np.tanh(j), options.get("cell_clip"))
                h = sigmoid(o) * np.tanh(c)
                if projection is not None:
                    h = clip(h @ projection, options.get("proj_clip"))
                steps.append(h + x if options["use_skip_connections"] and layer > 0 else h)
            state[row, direction, layer] = (c, h)
            inputs = np.array(steps)
            outputs.append(inputs)
        return outputs

    def batch(self, sentences: list[list[str]], state: State) -> list[Layers]:
        """One stateful batch: (1 + layers, n, 2 width) for each sentence, its marks taken off; `state` is moved on."""
        found = []
        for row, words in enumerate(sentences):
            tokens = np.array([self.token(word) for word in ["<S>", *words, "</S>"]])
            forward = self.run(tokens, row, 0, state)
            backward = [layer[::-1] for layer in self.run(tokens[::-1], row, 1, state)]
            layers = [np.concatenate([a, b], axis=1)[1:-1] for a, b in zip([tokens, *forward], [tokens, *backward], strict=True)]
            found.append(np.array(layers))
        return found

    def alone(self, words: list[str], state: State | None = None) -> Layers:
        """(1 + layers, n, 2 width) of a sentence by itself, from zero or from row 0 of `state`, which stays as it is.

        The end of what a direction reads last cannot change what stands before it, so the marks do no harm here.
        """
        return self.batch([words], dict(state or {}))[0]


def options_of(**changes: Any) -> dict[str, Any]:
    """A small options.json; `changes` by field of `lstm` or `char_cnn`, None takes a field away."""
    options: dict[str, Any] = {
        "lstm": {"cell_clip": 3, "use_skip_connections": True, "n_layers": 2, "proj_clip": 3, "projection_dim": 6, "dim": 10},
        "char_cnn": {
            "embedding": {"dim": 4},
            "filters": [[1, 3], [2, 4], [3, 5]],
            "n_highway": 1,
            "n_characters": 262,
            "max_characters_per_token": 50,
            "activation": "relu",
        },
    }
    for name, value in changes.items():
        part = options["lstm"] if name in options["lstm"] else options["char_cnn"]
        if value is None:
            part.pop(name)
        else:
            part[name] = value
    return options


def checkpoint(options: dict[str, Any], seed: int = 0, scale: float = 0.5) -> dict[str, np.ndarray]:
    """Random float32 weights for the options."""
    random = np.random.default_rng(seed)
    cnn, lstm = options["char_cnn"], options["lstm"]
    dim, width = lstm["dim"], lstm["projection_dim"]
    filters = sum(count for _, count in cnn["filters"])
    shapes: dict[str, tuple[int, ...]] = {"char_embed": (261, cnn["embedding"]["dim"])}
    for number, (wide, count) in enumerate(cnn["filters"]):
        shapes |= {f"CNN/W_cnn_{number}": (1, wide, cnn["embedding"]["dim"], count), f"CNN/b_cnn_{number}": (count,)}
    for number in range(cnn.get("n_highway") or 0):
        for part in ("carry", "transform"):
            shapes |= {f"CNN_high_{number}/W_{part}": (filters, filters), f"CNN_high_{number}/b_{part}": (filters,)}
    if filters != width:
        shapes |= {"CNN_proj/W_proj": (filters, width), "CNN_proj/b_proj": (width,)}
    for direction in (0, 1):
        for layer in range(lstm.get("n_layers", 1)):
            root = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/"
            shapes |= {root + "W_0": (2 * width, 4 * dim), root + "B": (4 * dim,)}
            if width < dim:
                shapes[root + "W_P_0"] = (dim, width)
    return {name: (scale * random.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def save(directory: Path, options: dict[str, Any], weights: dict[str, np.ndarray]) -> tuple[Path, Path]:
    """Write options.json and weights.hdf5."""
    import h5py

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "options.json").write_text(json.dumps(options))
    with h5py.File(directory / "weights.hdf5", "w") as file:
        for name, value in weights.items():
            file.create_dataset(name, data=value)
    return directory / "options.json", directory / "weights.hdf5"


def load(options_path: Path, weights_path: Path) -> NumpyElmo:
    """The oracle for a checkpoint on disk."""
    import h5py

    weights: dict[str, np.ndarray] = {}
    with h5py.File(weights_path, "r") as file:
        file.visititems(lambda name, item: weights.update({name: item[...]}) if isinstance(item, h5py.Dataset) else None)
    return NumpyElmo(json.loads(Path(options_path).read_text()), weights)
