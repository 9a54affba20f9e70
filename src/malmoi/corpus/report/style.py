"""The style sheet of the report page: light and dark, for a screen, a telephone and paper."""

STYLE = """
:root { --paper: #fbfaf6; --card: #ffffff; --ink: #23211d; --soft: #6f6a60; --line: #e3dfd5; --is: #2f6690; --was: #b9c4cc;
  --gone: #c2452d; --goneback: #f7e1db; --newback: #ddebdc; --new: #2b6a3c; color-scheme: light dark }
@media (prefers-color-scheme: dark) { :root { --paper: #15171a; --card: #1d2024; --ink: #e9e6df; --soft: #9b978d; --line: #33373d;
  --is: #79b4de; --was: #4d5963; --gone: #ee8066; --goneback: #47261f; --newback: #1f3b27; --new: #8fd0a0 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.6 "Pretendard", "Inter", system-ui, "Apple SD Gothic Neo",
  "Noto Sans KR", "Noto Sans CJK KR", "Malgun Gothic", "NanumGothic", sans-serif; font-variant-numeric: tabular-nums }
main { max-width: 1060px; margin: 0 auto; padding: 56px 24px 96px }
header p { color: var(--soft); margin: 0 }
.brand { letter-spacing: .08em; font-size: 13px }
h1 { font-size: clamp(26px, 4.2vw, 40px); line-height: 1.25; letter-spacing: -.015em; font-weight: 650;
  margin: 8px 0 14px; text-wrap: balance }
h1 b { color: var(--is); font-weight: inherit }
h2 { font-size: 22px; letter-spacing: -.01em; margin: 72px 0 4px }
h3 { font-size: 15px; margin: 26px 0 8px }
h2 + p { color: var(--soft); margin: 0 0 20px; max-width: 68ch }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); margin: 34px 0 0; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px; overflow: hidden }
.facts div { box-shadow: 0 0 0 .5px var(--line); padding: 14px 18px }
.facts span { display: block; line-height: 1.4 }
.facts b { display: block; font-size: 23px; line-height: 1.3; font-weight: 620; letter-spacing: -.01em }
.facts span { color: var(--soft); font-size: 13px }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: 14px }
th { text-align: right; font-weight: 500; color: var(--soft); padding: 6px 10px; border-bottom: 1px solid var(--line); white-space: nowrap }
td { text-align: right; padding: 7px 10px; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
tr:last-child td { border-bottom: 0 }
td.bar { width: 30%; min-width: 170px; padding-block: 4px }
td.bar svg { display: block; width: 100%; height: 22px }
td.gone { color: var(--gone) } td.none, .none { color: var(--soft) }
td small, .soft { color: var(--soft) }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 24px 40px }
.two > * { min-width: 0 }
.columns { columns: 2 440px; column-gap: 40px } .columns > div { break-inside: avoid; padding-bottom: 22px }
.columns td { padding-block: 4px } .columns th:nth-child(2), .columns td:nth-child(2) { text-align: left }
.columns td.bar { width: 24%; min-width: 60px; padding-block: 0 } .columns h3 { margin-top: 0 }
figure { margin: 0; padding: 18px 18px 10px; background: var(--card); border: 1px solid var(--line); border-radius: 10px }
figcaption { font-size: 15px; font-weight: 600; margin-bottom: 8px }
figure svg { display: block; width: 100%; height: auto }
.key { font-size: 13px; font-weight: 400; color: var(--soft); float: right }
.key i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin: 0 5px 0 14px; vertical-align: -1px }
svg text { fill: var(--soft); font-size: 13px; font-family: inherit }
svg .tick, svg .unit { text-anchor: middle } svg .mark, svg .name { text-anchor: end } svg .name { fill: var(--ink) }
svg .value { font-size: 11px } svg .grid { stroke: var(--line) }
.is { fill: var(--is); background: var(--is) } .was { fill: var(--was); background: var(--was) }
.cut { fill: var(--gone); background: var(--gone) }
.rest { fill: var(--line) }
details { border-top: 1px solid var(--line) }
details:last-of-type { border-bottom: 1px solid var(--line) }
summary { cursor: pointer; padding: 12px 0; font-weight: 600 }
summary span { font-weight: 400; color: var(--soft); margin-left: 10px; font-size: 14px }
details > div { padding-bottom: 18px }
.sample { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; margin: 8px 0; overflow: hidden;
  contain: paint; font-size: 14.5px }
.sample p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere;
  unicode-bidi: isolate; max-height: 15em; overflow: auto }
.sample p + p { margin-top: 8px; padding-top: 8px; border-top: 1px dashed var(--line) }
.sample header { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "D2Coding", monospace; color: var(--soft);
  overflow-wrap: anywhere; margin-bottom: 5px }
.sample header b { color: var(--gone); font-weight: 500 }
.sample p i { font: 11px/1 ui-monospace, Menlo, Consolas, monospace;
  color: var(--soft); border: 1px solid var(--line); border-radius: 4px; padding: 0 3px }
del { background: var(--goneback); color: var(--gone); text-decoration-thickness: 1px; border-radius: 3px }
ins { background: var(--newback); color: var(--new); text-decoration: none; border-radius: 3px }
code, pre { font: 13px/1.6 ui-monospace, "SF Mono", Menlo, Consolas, "D2Coding", monospace }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; overflow-x: auto }
footer { margin-top: 72px; color: var(--soft); font-size: 13px }
@media print { main { max-width: none; padding: 0 } details > div { display: block } figure, .sample { break-inside: avoid } }
"""
