"""The frame of a page: one self-contained document, light or dark as the system is; screen, phone, paper."""

from mvector.report.markup import Markup, element, escaped

# Light is also what is printed. The colours of the charts have a contrast of at least 3:1 with the background of each
# scheme, and no chart tells two things apart by colour alone (dashes, shapes and words do it as well).
CSS = Markup("""
:root { color-scheme: light dark;
  --page: #fff; --card: #f5f6f8; --text: #1a1d21; --muted: #59606b; --rule: #d9dde3; --warn: #fff3dd;
  --target: #1b7837; --nontarget: #b2182b; --curve: #2166ac; --mark: #c46a00; --plain: #1a1d21;
  --series-4: #b2182b; --series-5: #762a83; --series-6: #59606b; }
@media screen and (prefers-color-scheme: dark) { :root {
  --page: #14171b; --card: #1d2127; --text: #e7e9ec; --muted: #a0a8b4; --rule: #363c45; --warn: #3a2c12;
  --target: #6fce84; --nontarget: #ff8085; --curve: #6cb2ff; --mark: #f7b04a; --plain: #e7e9ec;
  --series-4: #ff8085; --series-5: #d3a4f0; --series-6: #a0a8b4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem clamp(.9rem, 3vw, 2.5rem) 3rem; background: var(--page);
  color: var(--text); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "PingFang SC", "Microsoft YaHei",
  "Noto Sans CJK SC", "Noto Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .7rem; padding-bottom: .25rem; border-bottom: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .5rem 0; max-width: 60rem; }
.muted, .note, figcaption + .note { color: var(--muted); font-size: .9rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 9.5rem), 1fr)); gap: .8rem;
  margin: 1.2rem 0; padding: 0; }
.cards > div { background: var(--card); border-radius: .5rem; padding: .8rem 1rem; }
.cards dt { color: var(--muted); font-size: .9rem; }
.cards dd { margin: 0; font-size: 1.45rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.3; }
.cards dd + dd { font-size: .85rem; font-weight: 400; color: var(--muted); }
.cards dd.none { font-size: .9rem; font-weight: 400; color: var(--muted); }
.warnings { background: var(--warn); border-left: .3rem solid var(--mark); border-radius: .3rem; margin: 1.2rem 0;
  padding: .7rem 1rem; }
.warnings ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1.2rem; }
figure { margin: 0; background: var(--card); border-radius: .5rem; padding: 1rem; min-width: 0; break-inside: avoid; }
figcaption { font-weight: 600; margin-bottom: .4rem; }
svg.plot { display: block; width: 100%; max-width: 42rem; height: auto; margin: 0 auto; }
svg text { fill: var(--text); font-size: 13px; } svg .tick { fill: var(--muted); font-size: 12px; }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; }
svg .grid { stroke: var(--rule); stroke-width: 1; fill: none; } svg .frame { stroke: var(--muted); fill: none; }
svg .line { fill: none; stroke: var(--c); stroke-width: 2.2; stroke-linejoin: round; }
svg .dashed { stroke-dasharray: 5 4; stroke-width: 1.6; }
svg .area { fill: var(--c); fill-opacity: .32; stroke: var(--c); stroke-width: 1.4; }
svg .point { fill: var(--c); stroke: var(--page); stroke-width: 1.2; }
svg .interval.line { stroke-width: 9; stroke-opacity: .3; stroke-linecap: round; }
.target { --c: var(--target); } .nontarget { --c: var(--nontarget); } .curve { --c: var(--curve); }
.mark, .interval { --c: var(--mark); } .plain { --c: var(--plain); } .faint { --c: var(--muted); }
.series-1 { --c: var(--curve); } .series-2 { --c: var(--mark); } .series-3 { --c: var(--target); }
.series-4 { --c: var(--series-4); } .series-5 { --c: var(--series-5); } .series-6 { --c: var(--series-6); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .5rem 0 0; padding: 0;
  font-size: .88rem; }
.legend li { display: flex; gap: .4rem; align-items: center; overflow-wrap: anywhere; }
.swatch { width: 1.8rem; height: 1rem; flex: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
thead th { color: var(--muted); font-weight: 600; font-size: .85rem; vertical-align: bottom; }
tbody th { font-weight: 600; }
th.right, td.right { text-align: right; padding-right: 1.2rem; } td.right { white-space: nowrap; }
td.none { color: var(--muted); }
@media (min-width: 40.01rem) { table.conditions { table-layout: fixed; min-width: 46rem; }
  .conditions th:nth-child(1) { width: 13%; } .conditions th:nth-child(2) { width: 19%; }
  .conditions th:nth-child(3) { width: 13%; } .conditions th:nth-child(4) { width: 12%; }
  .conditions th:nth-child(8) { width: 7%; } }
.path { unicode-bidi: isolate; overflow-wrap: anywhere; font-family: ui-monospace, Menlo, Consolas,
  "Noto Sans Mono CJK SC", monospace; font-size: .85rem; display: block; }
.facts th { width: 18rem; font-weight: 400; color: var(--muted); } .facts td { overflow-wrap: anywhere; }
.bar { width: 100%; max-width: 9rem; min-width: 5rem; height: 1rem; display: block; }
.bar .track { fill: var(--rule); } .bar .fill { fill: var(--curve); }
.bar .whisker { stroke: var(--text); stroke-width: 1.5; fill: none; }
.method dt { font-weight: 600; margin-top: .6rem; } .method dd { margin: 0; max-width: 60rem; }
.tag { display: inline-block; border: 1px solid currentColor; border-radius: .3rem; padding: 0 .35rem; font-size: .8rem;
  white-space: nowrap; }
.tag.nontarget, .tag.target { color: var(--c); }
@media (max-width: 40rem) {
  svg text { font-size: 17px; } svg .tick { font-size: 15px; }
  figure { padding: .7rem .5rem; }
  table.stack thead { display: none; }
  table.stack tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--rule); }
  table.stack td, table.stack th { display: block; border: 0; padding: .1rem 0; text-align: left; white-space: normal; }
  table.stack td::before { content: attr(data-label) " "; color: var(--muted); font-size: .85rem; }
  table.stack td:empty { display: none; }
  .facts th, .facts td { display: block; width: auto; padding: .2rem 0; } .facts th { border: 0; padding-bottom: 0; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; }
  h2 { break-after: avoid; } tr { break-inside: avoid; }
  .scroll { overflow: visible; } .cards > div, figure { border: 1px solid var(--rule); }
  .charts { grid-template-columns: 1fr 1fr; } }
""")


def document(title: str, language: str, *body: object) -> Markup:
    """A whole HTML page; `language` is 'en' or 'zh'. It loads nothing and runs nothing."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        element("title", escaped(title)),
        element("style", CSS),
    )
    lang = "zh-CN" if language == "zh" else "en"
    return Markup("<!DOCTYPE html>\n" + element("html", head, element("body", *body), lang=lang) + "\n")
