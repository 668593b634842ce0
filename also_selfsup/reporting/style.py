"""The look of a report: legible type, light and dark, on screen and on paper."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d232a; --soft: #5b6670; --page: #ffffff; --line: #d9dee3;
  --tint: #f4f6f8; --accent: #0b5394; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #a2adb8; --page: #16191d; --line: #3a424b; --tint: #20252b;
    --accent: #7db8ee; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 1.0625rem/1.6 "Source Sans 3", "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 56rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 2.1rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 3rem 0 .8rem; padding-bottom: .3rem;
  border-bottom: 1px solid var(--line); }
p { max-width: 44rem; margin: 0 0 1rem; }
.subtitle { color: var(--soft); font-size: 1.15rem; }
.result { border-left: 4px solid var(--accent); background: var(--tint); padding: .8rem 1.1rem;
  font-size: 1.15rem; font-weight: 600; border-radius: 0 4px 4px 0; }
figure { margin: 1.5rem 0; }
figure img { display: block; width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line);
  border-radius: 4px; padding: .6rem; }
figure.narrow img { width: 50%; min-width: 20rem; }
figcaption, caption { color: var(--soft); font-size: .95rem; line-height: 1.45; max-width: 44rem;
  text-align: left; }
figcaption { margin-top: .5rem; }
caption { padding-bottom: .5rem; }
.wide { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; max-width: 44rem; }
th, td { padding: .35rem 1rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
thead th { font-size: .92rem; border-bottom: 2px solid var(--line); white-space: nowrap; }
tbody th { font-weight: 400; white-space: nowrap; }
table.wrap { max-width: none; font-size: .95rem; }
table.wrap th, table.wrap td { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
.number { white-space: nowrap; text-align: right; padding-left: 1rem; }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 4px; padding: .9rem 1.1rem;
  overflow-x: auto; font: .9rem/1.55 ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; }
details { margin: 1rem 0; } summary { cursor: pointer; color: var(--accent); font-weight: 600; }
@media print {
  :root { --ink: #000; --soft: #444; --page: #fff; --line: #bbb; --tint: #fff; --accent: #000; }
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  figure, table, .result, tr { break-inside: avoid; } h2 { break-after: avoid; }
  figure img { width: auto; max-width: 100%; max-height: 20cm; } details pre { columns: 2; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; } details::details-content { display: block;
  content-visibility: visible; block-size: auto; } summary { list-style: none; color: var(--ink); } }
"""
