"""The report page: its numbers are those of the report, and no text of a corpus can break it."""

import json
import re
from html.parser import HTMLParser

import pytest

from malmoi.corpus.profiles import web_ko
from malmoi.corpus.report import excerpts, page, plots
from malmoi.corpus.report.tally import CLASSES, Tally

HOSTILE = {
    "script": "</script><script>alert(1)</script>",
    "attribute": '" onload="alert(1)" \' onclick=\'x',
    "closing": "</p></div></details></main></body></html>",
    "comment": "<!-- <![CDATA[ ]]> --> &amp; &#0; &lt;",
    "long": "가" * 1_000_000,
    "right to left": "\u202eabc\u2066 שלום \u200f",
    "surrogate": "a\ud800b\udfff",
    "control": "\0\x1b[31m\x08\x85\u2028\ufeff",
    "marks": "e" + "\u0301" * 10_000,
    "style": "</style><style>*{display:none}</style>",
}


def report(texts=("짧은 글",), id="a.txt:1"):
    """What a cleaning of two steps would tell of some texts, each removed, taken and changed."""
    tally = Tally(["read", "noise", "near"])
    read, noise, near = tally.steps.values()
    read.before, read.after = [1000, 5000, 900], [990, 4900, 880]
    noise.before, noise.after = [990, 4900, 880], [600, 3000, 500]
    near.before, near.after = [600, 3000, 500], [597, 2998, 499]
    read.reasons["charset"] = [10, 100]
    for text in texts:
        noise.removed(id, text, reason=text[:50], detail=text)
        noise.took(id, text, reason="press")
        near.altered(id, text, "x" + text[1:] + "y", counts={text[:50]: 2}, flags={text[:50]: "1"})
    tally.before.lengths, tally.after.lengths = [0, 0, 5, 990], [0, 0, 0, 597]
    tally.before.classes.update(hangul=900, latin=100)
    tally.after.classes.update(hangul=999, latin=1)
    tally.splits["train"] = [590, 2900, 480]
    return {"spec": web_ko().model_dump(mode="json"), "seconds": 12.0, "workers": 2, **tally.json()}


class Reader(HTMLParser):
    """Tags that are open, every tag with its attributes, and the text of each element with a class."""

    VOID = ("meta",)

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_breaks_the_page(name):
    text = HOSTILE[name]
    found = report([text], id=f"{text[:200]}:1")
    found["spec"]["profile"] = text[:200]
    html = page.render(found)
    html.encode("utf-8")
    usual = Reader(page.render(report(["ordinary text"])))
    read = Reader(html)
    assert read.open == []  # every element that was opened is closed by the page itself
    assert {tag for tag, _ in read.tags} - {"i", "del", "ins", "small"} <= {tag for tag, _ in usual.tags}
    assert not {"script", "img", "link", "iframe", "object", "a"} & {tag for tag, _ in read.tags}
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on") or name in ("src", "href")]
    assert len(html) < 100_000


def test_what_is_not_seen_is_named_and_direction_is_kept_inside():
    html = page.render(report([HOSTILE["right to left"], HOSTILE["control"], HOSTILE["surrogate"]]))
    assert not re.search("[\x00\x08\x1b\u202a-\u202e\u2066-\u2069\u200f\ufeff\ud800-\udfff]", html)
    for code in ("U+202E", "U+2066", "U+200F", "U+0000", "U+001B", "U+FEFF", "U+2028", "U+D800", "U+DFFF"):
        assert f"<i>{code}</i>" in html
    assert "שלום" in html and '<p dir="auto">' in html and "<bdi>" in html and "unicode-bidi: isolate" in html


def test_nothing_is_loaded_and_nothing_is_run():
    html = page.render(report())
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    assert not re.search(r"(?i)https?://|url\(|@import|javascript:", html)
    assert "prefers-color-scheme: dark" in html and "Noto Sans KR" in html


def test_the_numbers_are_those_of_the_report():
    html = page.render(report())
    text = " ".join(Reader(html).texts)
    assert "Of 1,000 documents" in html and "<b>597</b>" in html and "59.7% of the documents" in text
    assert re.search(r"60% of the characters|60\.0% of the characters", text)
    rows = re.findall(r"<tr><td>(read|noise|near)</td>(.*?)</tr>", html)
    gone = {name: [int(number) for number in re.findall(r'<td class="gone">(\d+)</td>', row)] for name, row in rows}
    assert gone == {"read": [10], "noise": [390], "near": [3]}
    bars = {name: [float(width) for width in re.findall(r'class="is" y="4" width="([\d.]+)"', row)] for name, row in rows}
    assert bars == {"read": [990.0, 980.0], "noise": [600.0, 600.0], "near": [597.0, 599.6]}
    assert "near.bands" not in html and "bands=14" in html  # the parameters of the steps stand at the end


def test_reasons_stand_by_how_many_documents_they_took():
    found = report()
    found["steps"][1]["reasons"] = {"rare": [2, 9], "frequent": [388, 9]}
    assert page.top_reasons(found) == [("noise", "frequent", 388, 9), ("read", "charset", 10, 100), ("noise", "rare", 2, 9)]
    assert page.totals(found) == ([1000, 5000, 900], [597, 2998, 499])


def test_twenty_samples_of_each_kind_at_most():
    found = report()
    sample = found["steps"][1]["samples"][0]
    found["steps"][1]["samples"] = [{**sample, "id": f"sample-{number}"} for number in range(30)]
    html = page.render(found)
    assert html.count("sample-") == 20 and "sample-19" in html and "sample-20" not in html


def test_a_report_of_nothing_and_one_out_of_a_file_are_drawn():
    empty = Tally(["read"]).json()
    assert "Of 0 documents <b>0</b>" in page.render(empty)
    found = report()
    assert page.render(json.loads(json.dumps(found))) == page.render(found)


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("전화 010-1234-5678 끝", "전화 [PHONE] 끝", "전화 <del>010-1234-5678</del><ins>[PHONE]</ins> 끝"),
        ("a@b.c 에게 편지", "[EMAIL] 에게 편지", "<del>a@b.c</del><ins>[EMAIL]</ins> 에게 편지"),
        ("끝이 잘린다 무단전재", "끝이 잘린다", "끝이 잘린다<del> 무단전재</del>"),
        ("같은 글", "같은 글", "같은 글"),
        ("<b>", "<i>", "&lt;<del>b</del><ins>i</ins>&gt;"),
        ("가\u200b나", "가나", "가<del><i>U+200B</i></del>나"),
    ],
)
def test_what_changed_is_marked(before, after, shown):
    assert excerpts.changed(before, after) == shown


def test_both_texts_can_be_read_out_of_the_marks():
    before, after = "ㅋㅋㅋㅋㅋ 웃긴다 정말로 ㅎㅎㅎㅎ!!!!! 하하", "ㅋㅋㅋ 웃긴다 정말로 ㅎㅎㅎ!!! 하하"
    shown = excerpts.changed(before, after)
    assert re.sub("<ins>.*?</ins>|</?del>", "", shown) == before and re.sub("<del>.*?</del>|</?ins>", "", shown) == after


def test_where_an_excerpt_is_full_the_other_one_has_lost_nothing():
    text = "".join(chr(0xAC00 + place) for place in range(300))
    assert excerpts.changed("\u200b" + text[:239], text[:240]) == "<del><i>U+200B</i></del>" + text[:240]


def test_cut_text_says_how_much_is_left():
    assert excerpts.plain("가" * 500, longest=10) == "가" * 10 + "<small> … 490 more</small>"


@pytest.mark.parametrize(
    ("largest", "ticks"),
    [(0, [0, 1]), (1, [0, 1]), (3, [0, 1, 2, 3]), (97, [0, 20, 40, 60, 80, 100]), (1234, [0, 250, 500, 750, 1000, 1250])],
)
def test_ticks_are_round_and_reach_the_top(largest, ticks):
    assert plots.round_ticks(largest) == ticks


def test_bars_are_as_high_as_their_numbers():
    svg = plots.lengths([0, 0, 40, 100], [0, 0, 10])
    heights = {title: float(height) for height, title in re.findall(r'height="([\d.]+)" rx="1.5"><title>([^<]*)', svg)}
    full = plots.HEIGHT - plots.TOP - plots.BOTTOM
    assert heights == {
        "2 to 3 characters, before: 40 documents": pytest.approx(0.4 * full, abs=0.1),
        "2 to 3 characters, after: 10 documents": pytest.approx(0.1 * full, abs=0.1),
        "4 to 7 characters, before: 100 documents": pytest.approx(full, abs=0.1),
    }
    assert "documents</text>" in svg and "characters in a document" in svg


def test_shares_are_of_all_characters():
    counts = dict.fromkeys(CLASSES, 0)
    svg = plots.classes({**counts, "hangul": 30, "latin": 10}, {**counts, "hangul": 10})
    titles = re.findall("<title>(hangul|latin), (before|after): (.*?)</title>", svg)
    assert titles == [
        ("hangul", "before", "30 characters, 75.00%"),
        ("hangul", "after", "10 characters, 100.00%"),
        ("latin", "before", "10 characters, 25.00%"),
        ("latin", "after", "0 characters, 0.00%"),
    ]
    assert "share of all characters" in svg and ">100%</text>" in svg


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0%"), (1, "100%"), (0.99999, "99.9%"), (0.5, "50.0%"), (0.0042, "0.42%"), (0.00001, "<0.01%")]
)
def test_a_share_is_nothing_or_all_only_if_it_is(share, shown):
    assert plots.percent(share) == shown
