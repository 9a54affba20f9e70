"""The scores of benchmarks/extraction.py are those of the two evaluations that it follows."""

import gzip
import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("resiliparse")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    return import_module("extraction")


def test_segments_are_counted_over_all_pages(bench: ModuleType) -> None:
    gold = [{"with": ["one  two", "three"], "without": ["menu"]}, {"with": ["four"], "without": ["footer", "login"]}]
    pages = [bench.Page(b"", each) for each in gold]
    found = bench.segments(pages, ["one\ntwo menu", ""])
    assert {name: found[name] for name in ("tp", "fp", "fn", "tn")} == {"tp": 1, "fp": 1, "fn": 2, "tn": 2}
    assert found["precision"] == 0.5 and found["recall"] == 0.3333 and found["accuracy"] == 0.5 and found["f1"] == 0.4


def test_shingles_are_means_over_pages(bench: ModuleType) -> None:
    pages = [bench.Page(b"", text) for text in ("a b c d e", "x y", "never found")]
    found = bench.shingles(pages, ["a b c d f", "x, y!", ""])  # 1 of 2, 1 of 1, nothing: no precision, recall 0
    assert found == {"precision": 0.75, "recall": 0.5, "f1": 0.6}


def test_ngrams_count_repetitions(bench: ModuleType) -> None:
    assert bench.ngrams("a a a a a") == {("a",) * 4: 2}
    assert bench.ngrams("한 글") == {("한", "글"): 1}
    assert not bench.ngrams(" . ")


def test_measure_reads_pages_with_every_system(bench: ModuleType, tmp_path: Path) -> None:
    body = "".join(f"<p>Sentence {n} of the article is long enough to be one.</p>" for n in range(8))
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "k.html.gz").write_bytes(gzip.compress(f"<title>t</title><nav>menu</nav>{body}".encode()))
    text = "\n".join(f"Sentence {n} of the article is long enough to be one." for n in range(8))
    (tmp_path / "ground-truth.json").write_text(json.dumps({"k": {"articleBody": text}}))
    pages = bench.articles(tmp_path)
    for name in ("fast", "resiliparse"):
        found = bench.measure(name, pages, bench.shingles)
        assert found["f1"] == 1.0 and found["pages"] == 1 and found["empty"] == 0 and found["MB_per_cpu_second"] >= 0


def test_required_scores(bench: ModuleType, shared: Path, tmp_path: Path) -> None:
    """A tenth of the annotated pages; all of them are in the results."""
    folder = shared / "data"
    if not (folder / "trafilatura_eval").is_dir():
        folder = shared
    pages = bench.trafilatura_pages(folder, tmp_path)
    assert len(pages) == 990
    found = bench.measure("fast", pages[::10], bench.segments)
    assert found["f1"] >= 0.89
