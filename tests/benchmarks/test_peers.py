"""The other side of the comparisons computes what it should: the same losses under the same weights, whole streams, honest counts."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from malmoi.core.recipe import RunSpec, SubwordSpec
from malmoi.core.spec import override
from malmoi.objectives import build
from malmoi.recipes import find
from malmoi.shards import Shards
from malmoi.vocab import EncodedText, Subwords, encode_documents

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LENGTH = 32
SMALL = ("model.width=32", "model.backbone.depth=2", "model.backbone.mixer.heads=2", "model.backbone.feedforward.width=128")
TEXTS = [" ".join(f"the {animal} {verb} over {n} hills" for n in range(25)) for animal in ("cat", "dog") for verb in ("ran", "went")]
MODULES = ("agreement", "pairing", "peers", "scoring", "sides", "texts", "transformers_speed")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    found = SimpleNamespace(**{name: import_module(name) for name in MODULES})
    for module in (found.scoring, found.agreement):
        monkeypatch.setattr(module, "LENGTH", LENGTH)
    monkeypatch.setattr(found.scoring, "blocks", lambda shards, marks: found.peers.blocks(shards, marks, LENGTH))
    return found


@pytest.fixture(scope="module")
def vocabulary() -> Subwords:
    return Subwords.train(TEXTS, SubwordSpec(size=300, minimum_count=1))


@pytest.fixture(scope="module")
def text(vocabulary: Subwords) -> EncodedText:
    return encode_documents(TEXTS, vocabulary)


@pytest.fixture(scope="module")
def shards(text: EncodedText) -> Shards:
    return Shards.of(text.ids, text.ends)


def spec(name: str, *settings: str) -> RunSpec:
    alone = ["objective.pair=none"] if name == "bert-tiny" else []
    return override(find(name), [*alone, *SMALL, f"stream.length={LENGTH}", *settings], shown=f"recipes {name}")


def shaken(objective: Any) -> Any:
    """Far from the start, where much is zero and sides could agree by chance."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return objective


@pytest.mark.parametrize(
    ("kind", "name"), [("masked", "bert-tiny"), ("masked", "albert-tiny"), ("causal", "gpt2-tiny"), ("replaced", "electra-tiny")]
)
def test_same_weights_same_loss(bench: SimpleNamespace, vocabulary: Subwords, shards: Shards, tmp_path: Path, kind: str, name: str) -> None:
    pytest.importorskip("transformers")
    settings = ["objective.pair=none"] if name == "albert-tiny" else []
    chosen = spec(name, *settings)
    objective = bench.agreement.exported(chosen, vocabulary, tmp_path / "out")
    batch = bench.agreement.rows_of(shards, vocabulary, length=LENGTH)
    found = getattr(bench.agreement, kind)(objective, tmp_path / "out", batch)
    assert found and all(value < bench.agreement.ALLOWED for value in found.values()), found
    other = getattr(bench.agreement, kind)(shaken(objective), tmp_path / "out", batch)
    assert all(value > 1e-3 for value in other.values()), other  # other weights are told from the same


def test_nanogpt_is_the_same_function(bench: SimpleNamespace, vocabulary: Subwords, shards: Shards) -> None:
    chosen = spec("gpt2-tiny", "model.backbone.depth=3")
    objective = shaken(build(chosen, **vocabulary.sizes()).eval())
    batch = bench.agreement.rows_of(shards, vocabulary, length=LENGTH)
    assert bench.agreement.nano(objective, chosen, batch)["causal"] < bench.agreement.ALLOWED


def test_nanogpt_as_it_is_timed(bench: SimpleNamespace, shards: Shards, vocabulary: Subwords) -> None:
    torch.manual_seed(0)
    model = bench.peers.NanoGPT(vocabulary=len(vocabulary), length=LENGTH, depth=2, width=32, heads=2)
    assert model.lm_head.weight.shape[0] % 64 == 0 and model.lm_head.weight is model.wte.weight
    stream = bench.peers.stream(shards, vocabulary.marks).astype(np.uint16)
    ids = torch.from_numpy(stream[: 2 * LENGTH].astype(np.int64)).view(2, LENGTH)
    before = model(ids[:, :-1], ids[:, 1:]).item()
    assert before == pytest.approx(np.log(model.lm_head.weight.shape[0]), abs=0.3)
    counts: list[int] = []

    def step(tokens: int) -> bool:
        counts.append(tokens)
        return len(counts) == 30

    options = bench.peers.Options(rows=4, learning_rate=3e-3)
    bench.peers.train_nano(model, stream, options=options, begin=lambda: None, step=step, length=LENGTH)
    assert counts == [4 * LENGTH] * 30
    assert model(ids[:, :-1], ids[:, 1:]).item() < before - 1.0


def test_blocks_hold_every_document(bench: SimpleNamespace, shards: Shards, vocabulary: Subwords, text: EncodedText) -> None:
    marks = vocabulary.marks
    stream = bench.peers.stream(shards, marks)
    ends = [0, *text.ends.tolist()]
    expected = [[marks.begin, *text.ids[a:b].tolist(), marks.end] for a, b in zip(ends[:-1], ends[1:], strict=True)]
    assert stream.tolist() == [id for document in expected for id in document]
    blocks = bench.peers.blocks(shards, marks, LENGTH)
    assert blocks.shape[1] == LENGTH and blocks.ravel().tolist() == stream[: blocks.size].tolist() and len(stream) - blocks.size < LENGTH


def test_electra_pair(bench: SimpleNamespace, shards: Shards, vocabulary: Subwords, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    place = tmp_path / "out"
    bench.agreement.exported(spec("electra-tiny"), vocabulary, place)
    generator = transformers.ElectraForMaskedLM.from_pretrained(place / "generator")
    pair = bench.peers.ElectraPair(generator, transformers.ElectraForPreTraining.from_pretrained(place / "discriminator"))
    assert pair.discriminator.electra.embeddings.word_embeddings.weight is pair.generator.electra.embeddings.word_embeddings.weight
    marks = vocabulary.marks
    ids = torch.from_numpy(bench.peers.blocks(shards, marks, LENGTH))
    torch.manual_seed(0)
    read, chosen = bench.peers.corrupted(ids, marks)
    assert 0.05 < chosen.float().mean() < 0.25 and not chosen[(ids == marks.begin) | (ids == marks.end)].any()
    assert (read == ids)[~chosen].all() and set(read[chosen & (read != ids)].tolist()) == {marks.mask}
    torch.manual_seed(2)
    loss = pair.eval()(ids, read, chosen)
    torch.manual_seed(2)
    with torch.no_grad():
        filled = pair.generator(input_ids=read, labels=torch.where(chosen, ids, -100))
        sampled = torch.multinomial(torch.softmax(filled.logits[chosen], -1), 1).squeeze(1)
        text = read.clone()
        text[chosen] = sampled
        told = torch.nn.functional.binary_cross_entropy_with_logits(pair.discriminator(input_ids=text).logits, (text != ids).float())
    assert loss.item() == pytest.approx((filled.loss + 50 * told).item(), rel=1e-5)
    loss.backward()
    assert all(part.grad is not None for name, part in pair.named_parameters() if "position_ids" not in name)


def test_trainer_takes_steps(bench: SimpleNamespace, shards: Shards, vocabulary: Subwords, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    place = tmp_path / "out"
    bench.agreement.exported(spec("bert-tiny"), vocabulary, place)
    model = transformers.AutoModelForMaskedLM.from_pretrained(place)
    before = [parameter.clone() for parameter in model.parameters()]
    rows = [block[: LENGTH - 8 * (number % 2)] for number, block in enumerate(bench.peers.blocks(shards, vocabulary.marks, LENGTH))]
    begun, counts = [], []

    def step(tokens: int) -> bool:
        counts.append(tokens)
        return len(counts) % 2 == 0

    examples = bench.peers.Examples(rows, vocabulary.marks)
    options = bench.peers.Options(rows=4)
    bench.peers.train_with_trainer(model, examples, place, kind="masked", options=options, begin=lambda: begun.append(1), step=step)
    assert len(begun) == 1 and len(counts) == 2
    assert all(4 * (LENGTH - 8) <= count <= 4 * LENGTH and count % 8 == 0 for count in counts)  # what is padded does not count
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    after = [parameter.clone() for parameter in model.parameters()]
    still = bench.peers.Options(rows=4, factor=lambda _: 0.0)  # a course of the learning rate of one's own is followed
    bench.peers.train_with_trainer(model, examples, place, kind="masked", options=still, begin=lambda: None, step=step)
    assert len(counts) > 2 and all(torch.equal(old, new) for old, new in zip(after, model.parameters(), strict=True))


@pytest.mark.parametrize("name", ["bert-tiny", "gpt2-tiny", "electra-tiny"])
def test_one_score_for_both_sides(bench: SimpleNamespace, vocabulary: Subwords, text: EncodedText, tmp_path: Path, name: str) -> None:
    sample = bench.scoring.Sample(text, vocabulary)
    objective = bench.agreement.exported(spec(name), vocabulary, tmp_path / "out")
    ours, imported = sample.score(objective), sample.score_directory(tmp_path / "out")
    assert ours.keys() == imported.keys() and ours["scored"] > 50
    for key, value in ours.items():
        assert imported[key] == pytest.approx(value, rel=1e-4, abs=1e-4), key
    other = sample.score(shaken(objective))
    assert any(abs(other[key] - value) > 1e-3 for key, value in ours.items())


def test_turns(bench: SimpleNamespace) -> None:
    program = "import sys; from pairing import Turns; t = Turns(); print('noise'); t.wait(); t.done(5); t.done(7); sys.exit('not reached')"
    done = subprocess.run([sys.executable, "-c", program], input="go\ngo\n", capture_output=True, text=True, cwd=BENCHMARKS)
    assert done.returncode == 0, done.stderr
    first, second, end = map(json.loads, done.stdout.splitlines())
    assert (first["tokens"], second["tokens"]) == (5, 7) and first["seconds"] >= 0
    assert end["peak"] >= end["idle"] > 1e6


def test_summary_and_table(bench: SimpleNamespace) -> None:
    steps = [{"seconds": seconds, "tokens": tokens} for seconds, tokens in ((1.0, 90), (9.0, 110), (2.0, 100))]
    found = bench.pairing.summary(steps, {"idle": 100, "peak": 350})
    assert (found["tokens_per_second"], found["step_seconds"], found["peak_bytes"]) == (50.0, 2.0, 250)
    other = {"seconds_of_steps": [2.0, 27.0, 4.0], "tokens_per_step": 50.0}
    assert bench.pairing.paired(found, other) == 4.0  # twice the time, half the tokens
    faster, larger = bench.pairing.Row("a", 26, 10, "x", 2.6), bench.pairing.Row("b", 5, 10, "x", 0.45, at_least=False)
    assert faster.passed and not larger.passed
    text = bench.pairing.table([faster, larger])
    assert "2.600  >= 2.6  PASS" in text and "0.500  <= 0.45  short" in text


def test_a_clock(bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = iter_seconds()
    monkeypatch.setattr(bench.sides.time, "perf_counter", lambda: next(now))
    saved: list[Path] = []

    def save(place: Path) -> None:
        place.mkdir()
        saved.append(place)

    clock = bench.sides.Clock(bench.sides.Job("trainer", "", seconds=10.0, snapshots=2, out=str(tmp_path)), save)
    clock.begin()
    steps = 1
    while not clock.step(7):
        steps += 1
    assert [place.name for place in saved] == ["at-001", "at-002"]
    facts = json.loads((saved[-1] / "facts.json").read_text())
    assert facts["steps"] == steps and facts["tokens"] == 7 * steps and facts["seconds"] >= 10.0
    clock.began, monkeypatched = 100.0, bench.sides.time
    for moment, factor in ((100.25, 0.5), (100.5, 1.0), (105.25, 0.5), (110.0, 0.0)):
        monkeypatch.setattr(monkeypatched, "perf_counter", lambda moment=moment: moment)
        assert clock.factor(0) == pytest.approx(factor)


def iter_seconds() -> Iterator[float]:
    """A second a look."""
    now = 50.0
    while True:
        yield now
        now += 1.0


def test_lines_are_cut(bench: SimpleNamespace, vocabulary: Subwords, tmp_path: Path) -> None:
    source = tmp_path / "text.txt"
    source.write_text("the cat ran\n" + "the dog went " * 100 + "\n\nthe dog\n", encoding="utf-8")
    made = bench.texts.prepare(source, tmp_path / "work", size=300)
    lines = bench.texts.Lines.load(tmp_path / "work" / "lines.npz")
    assert [len(lines[number]) for number in (0, 2)] == [5, 4] and len(lines) == 3 and len(lines[1]) == 128
    assert all(lines[number][0] == made.marks.begin and lines[number][-1] == made.marks.end for number in range(3))
    assert bench.texts.facts_of(tmp_path / "work")["documents"] == 2
    stamp = (tmp_path / "work" / "blocks.npy").stat().st_mtime_ns
    bench.texts.prepare(source, tmp_path / "work", size=300)
    assert (tmp_path / "work" / "blocks.npy").stat().st_mtime_ns == stamp  # what is there is taken


def test_what_is_missing_is_named(bench: SimpleNamespace) -> None:
    with pytest.raises(SystemExit, match=r"no_such_module.*not installed[\s\S]*pip install"):
        bench.pairing.require("json", "no_such_module")
    bench.pairing.require("json")
