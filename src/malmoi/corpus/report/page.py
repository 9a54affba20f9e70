"""The report page of a cleaned corpus: one HTML file without scripts, from what `report.json` holds (tally.py says how it is laid out)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from malmoi.corpus.report import excerpts, plots
from malmoi.corpus.report.plots import percent, short
from malmoi.corpus.report.style import STYLE

TOP = 16
"""Reasons that are drawn."""
SAMPLES = 20
"""Samples of each step and kind that are shown."""
KINDS = {"removed": "Documents that went", "taken": "Parts that were taken out", "changed": "Documents that were changed"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is loaded and nothing is run, whatever the texts hold."""
BAR = 1000
"""Width of the view box of a bar that fills its cell."""


def render(report: Mapping[str, Any]) -> str:
    """The page as text that UTF-8 can hold. Texts and ids of the corpus stand in it escaped and cut."""
    body = [*_head(report), *_funnel(report), *_reasons(report), *_distributions(report), *_samples(report), *_settings(report)]
    title = f"malmoi corpus: {_text(report.get('spec', {}).get('profile', ''))}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{''.join(body)}</main>\n</body>\n</html>\n"
    )


def totals(report: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """[documents, characters, words] of what was read (the first step's output would hide what could not be) and of what is kept."""
    steps = report["steps"]
    return (list(steps[0]["in"]), list(steps[-1]["out"])) if steps else ([0, 0, 0], [0, 0, 0])


def top_reasons(report: Mapping[str, Any]) -> list[tuple[str, str, int, int]]:
    """`(step, reason, documents, characters)` of what was removed, most documents first."""
    found = [(step["name"], reason, *pair) for step in report["steps"] for reason, pair in step["reasons"].items()]
    return sorted(found, key=lambda each: (-each[2], each[:2]))


def _head(report: Mapping[str, Any]) -> Iterator[str]:
    (documents, characters, _), (kept, kept_characters, words) = totals(report)
    profile = f"profile {_text(report['spec']['profile'])}" if report.get("spec") else ""
    yield f'<header><p class="brand">말모이 · malmoi corpus · {profile}</p>'
    yield f"<h1>Of {documents:,} documents <b>{kept:,}</b> are kept: {percent(kept / max(documents, 1))} of the documents, "
    yield f"{percent(kept_characters / max(characters, 1))} of the characters.</h1>"
    yield "<p>Nothing disappears: what went stands in <code>removed/</code>, with the step and the reason.</p></header>"
    facts = [(f"{documents - kept:,}", "documents removed"), (short(kept_characters), "characters kept"), (short(words), "words kept")]
    facts += [(f"{counted[0]:,}", f"documents in {name}") for name, counted in report.get("splits", {}).items()]
    if "seconds" in report:
        facts.append((f"{report['seconds']:,.0f} s", f"with {report['workers']} worker{'s' * (report['workers'] > 1)}"))
    yield f'<div class="facts">{"".join(f"<div><b>{number}</b><span>{_text(name)}</span></div>" for number, name in facts)}</div>'


def _funnel(report: Mapping[str, Any]) -> Iterator[str]:
    read, _ = totals(report)
    yield "<h2>What each step kept</h2><p>Blue stays, red goes in this step. Words are what stands between white space. "
    yield "Seconds are of computing, summed over workers.</p>"
    yield '<div class="scroll"><table><tr><th>step</th><th>documents</th><th></th><th>gone</th><th>characters</th><th></th><th>gone</th>'
    yield "<th>words</th><th>changed</th><th>seconds</th></tr>"
    for step in report["steps"]:
        cells = [f"<td>{_text(step['name'])}</td>"]
        for place in (0, 1):
            before, after = step["in"][place], step["out"][place]
            cells.append(f'<td class="bar">{_bar(before, after, read[place])}</td>')
            cells.append(f"<td>{after:,}</td>" if place == 0 else f"<td>{short(after)}</td>")
            gone = before - after
            shown = f"{gone:,}" if place == 0 else f"{'+' if gone < 0 else ''}{percent(abs(gone) / max(before, 1))}"
            cells.append(f'<td class="gone">{shown}</td>' if gone else '<td class="none">·</td>')
        changed = f"<td>{step['changed']:,}</td>" if step["changed"] else '<td class="none">·</td>'
        yield f"<tr>{''.join(cells)}<td>{short(step['out'][2])}</td>{changed}<td>{step['seconds']:,.1f}</td></tr>"
    yield "</table></div>"


def _bar(before: int, after: int, whole: int) -> str:
    """What stays, and what goes here, as shares of what was read."""
    stays, went = (BAR * number / max(whole, before, after, 1) for number in (min(after, before), max(before - after, 0)))
    red = f'<rect class="cut" x="{stays:.1f}" y="4" width="{max(went, 3):.1f}" height="14"/>' if went else ""
    return (
        f'<svg viewBox="0 0 {BAR} 22" preserveAspectRatio="none" aria-hidden="true"><rect class="rest" y="10.5" width="{BAR}" height="1"/>'
        f'<rect class="is" y="4" width="{stays:.1f}" height="14"/>{red}</svg>'
    )


def _reasons(report: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Why</h2><p>The most frequent reasons, and what was done to the documents that stayed.</p>"
    removed = top_reasons(report)
    taken = [(step["name"], reason, *pair) for step in report["steps"] for reason, pair in step["taken"].items()]
    yield '<div class="columns">'
    yield _table("Documents that went", ("step", "reason", "documents", "characters"), removed)
    yield _table("Parts that were taken out", ("step", "reason", "parts", "characters"), sorted(taken, key=lambda each: -each[2]))
    done = [(step["name"], name, times) for step in report["steps"] for name, times in step["counts"].items()]
    yield _table("What was done", ("step", "", "times"), sorted(done, key=lambda each: -each[2]), shade="is")
    flags = [(step["name"], name, times) for step in report["steps"] for name, times in step["flags"].items()]
    if flags:
        yield _table("What was flagged", ("step", "flag", "documents"), flags, shade="is")
    yield "</div>"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, shade: str = "cut") -> str:
    """A table of `TOP` rows, its numbers with a bar behind the first of them."""
    if not rows:
        return f'<div><h3>{title}</h3><p class="none">None.</p></div>'
    largest = max(row[2] for row in rows) or 1
    head = "".join(f"<th>{name}</th>" for name in columns[:3]) + "<th></th>" + "".join(f"<th>{name}</th>" for name in columns[3:])
    lines = []
    for step, reason, first, *others in rows[:TOP]:
        bar = f'<rect class="{shade}" y="7" width="{max(BAR * first / largest, 3):.1f}" height="8"/>'
        drawn = f'<svg viewBox="0 0 {BAR} 22" preserveAspectRatio="none" aria-hidden="true">{bar}</svg>'
        rest = "".join(f"<td>{short(number)}</td>" for number in others)
        lines.append(
            f'<tr><td class="soft">{_text(step)}</td><td>{_words(reason)}</td><td>{first:,}</td><td class="bar">{drawn}</td>{rest}</tr>'
        )
    more = f'<p class="none">and {len(rows) - TOP} more in report.json</p>' if len(rows) > TOP else ""
    return f'<div class="scroll"><h3>{title}</h3><table class="why"><tr>{head}</tr>{"".join(lines)}</table>{more}</div>'


def _distributions(report: Mapping[str, Any]) -> Iterator[str]:
    before, after = report["before"], report["after"]
    key = '<span class="key"><i class="was"></i>before<i class="is"></i>after</span>'
    yield "<h2>Before and after</h2><p>What was read, beside what is kept.</p>"
    yield f'<div class="two"><figure><figcaption>{key}Lengths</figcaption>{plots.lengths(before["lengths"], after["lengths"])}</figure>'
    yield f"<figure><figcaption>{key}Characters</figcaption>{plots.classes(before['classes'], after['classes'])}</figure></div>"


def _samples(report: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Look at it</h2><p>Up to twenty of each kind, drawn by the hash of their id. "
    yield "<del>Red</del> is gone, <ins>green</ins> is new; characters that cannot be seen are named.</p>"
    for step in report["steps"]:
        if not step["samples"]:
            continue
        gone = step["in"][0] - step["out"][0]
        facts = [f"{gone:,} removed"] * (gone > 0) + [f"{step['changed']:,} changed"] * (step["changed"] > 0)
        yield f"<details><summary>{_text(step['name'])}<span>{', '.join(facts)}</span></summary><div>"
        for (kind, reason), group in groupby(step["samples"], key=lambda sample: (sample["kind"], sample["reason"])):
            shown = list(group)[:SAMPLES]
            name = f"{KINDS.get(kind, kind)}: {reason}" if reason else KINDS.get(kind, kind)
            yield f"<h3>{_words(name)}</h3>{''.join(map(_sample, shown))}"
        yield "</div></details>"


def _sample(sample: Mapping[str, Any]) -> str:
    detail = f" · <b>{excerpts.plain(str(sample['detail']))}</b>" if sample["detail"] else ""
    head = f"<header><bdi>{excerpts.plain(str(sample['id']))}</bdi>{detail}</header>"
    if sample["kind"] == "changed":
        return f'<div class="sample">{head}<p dir="auto">{excerpts.changed(sample["before"], sample["after"])}</p></div>'
    text = excerpts.plain(sample["before"])
    return f'<div class="sample">{head}<p dir="auto">{f"<del>{text}</del>" if sample["kind"] == "taken" else text}</p></div>'


def _settings(report: Mapping[str, Any]) -> Iterator[str]:
    """What the result depends on, and where the time went."""
    spec = report.get("spec")
    if spec:
        yield "<h2>How it was made</h2><p>Every step in order, with all its parameters.</p><pre>"
        yield f"{_line('reading', spec['reading'])}\n"
        yield "\n".join(_line(step["kind"], step) for step in spec["steps"])
        yield f"\n{_line('split', {'valid': spec['valid'], 'test': spec['test']})}</pre>"
    stages = "  ".join(f"{_text(name)} {seconds:,.1f} s" for name, seconds in report.get("stages", {}).items())
    yield f"<footer>{stages}</footer>"


def _line(name: str, fields: Mapping[str, Any]) -> str:
    values = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in fields.items() if key not in ("kind", "version"))
    return f"{_text(name):<12}<span class='soft'>{_text('  '.join(values))}</span>"


def _words(name: Any) -> str:
    return _text(str(name).replace("_", " "))


def _text(value: Any) -> str:
    return excerpts.plain(str(value), longest=4000)
