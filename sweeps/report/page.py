"""The report as one HTML file with interactive plots; it loads nothing else."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from string import Template

from plotly.offline import get_plotlyjs

from .markdown import Comparison
from .plots import Group
from .study import Study
from .tables import Row, exported_rows, live_rows

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
  * { box-sizing: border-box; }
  body { margin: 0 auto; max-width: 74rem; padding: 1rem; color: #20252c; background: #f5f6f8;
         font: 15px/1.45 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
  h1 { font-size: 1.4rem; margin: 0.5rem 0 1rem; overflow-wrap: anywhere; }
  h2 { font-size: 1.05rem; margin: 0 0 0.6rem; overflow-wrap: anywhere; }
  section { background: #fff; border: 1px solid #e0e4e9; border-radius: 8px; padding: 1rem;
            margin: 0 0 1rem; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; white-space: nowrap; font-variant-numeric: tabular-nums; }
  th, td { padding: 0.35rem 0.5rem; border-bottom: 1px solid #e0e4e9; text-align: right; }
  th { color: #5d6875; font-size: 0.85rem; }
  th:first-child, td:first-child { position: sticky; left: 0; background: #fff; text-align: left;
                                   padding-left: 0; white-space: normal; min-width: 6rem; }
  ul, .caption, details p { color: #5d6875; font-size: 0.85rem; }
  ul { margin: 0.8rem 0 0; padding-left: 1.1rem; overflow-wrap: anywhere; }
  .gaps { border-left: 4px solid #d98200; }
  .caption, details p { margin: 0.4rem 0 0; }
  select { font: inherit; max-width: 100%; margin-bottom: 0.4rem; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f5f6f8; padding: 0.5rem;
        font-size: 0.8rem; margin: 0.3rem 0; }
</style>
<script>$plotly</script>
</head>
<body>
<h1>$title</h1>
<section><div class="scroll"><table>$table</table></div><ul>$notes</ul></section>
$tables
$gaps
$plots
<section id="commands"><h2>Commands</h2>$commands</section>
<script type="application/json" id="figures">$figures</script>
<script>
const groups = JSON.parse(document.getElementById("figures").textContent);
document.querySelectorAll(".plots").forEach((section, number) => {
  const select = section.querySelector("select");
  const show = () => {
    const { data, layout } = groups[number][select ? select.selectedIndex : 0];
    Plotly.react(section.querySelector(".plot"), data, layout,
                 { responsive: true, displaylogo: false });
  };
  if (select) select.addEventListener("change", show);
  show();
});
</script>
</body>
</html>
""")


def render_page(comparison: Comparison) -> str:
    """The text of the page."""
    study, rows = comparison.study, comparison.rows
    tables = {"Live recognition": live_rows(comparison.summaries),
              "Exported models": exported_rows(study)}
    figures = json.dumps([[json.loads(plot.figure.to_json()) for plot in group.plots]
                          for group in comparison.groups], separators=(",", ":"))
    gaps = study.gaps()
    return PAGE.substitute(
        title=html.escape(comparison.title),
        plotly=get_plotlyjs(),
        table=_table(rows),
        tables="".join(
            f'<section><h2>{title}</h2><div class="scroll"><table>{_table(each)}</table></div>'
            "</section>" for title, each in tables.items() if each),
        notes=_items([*comparison.conclusions, *comparison.notes]),
        gaps=f'<section class="gaps"><h2>Failed and missing</h2><ul>{_items(gaps)}</ul></section>'
        if gaps else "",
        plots="".join(map(_section, comparison.groups)), commands=_commands(study),
        figures=figures.replace("<", "\\u003c"))  # a name like </script> must not close the script


def _table(rows: Sequence[Row]) -> str:
    return _row(rows[0], "th") + "".join(_row(row.values(), "td") for row in rows)


def _row(cells: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _items(lines: Sequence[str]) -> str:
    return "".join(f"<li>{html.escape(line)}</li>" for line in lines)


def _section(group: Group) -> str:
    options = "".join(f"<option>{html.escape(plot.label)}</option>" for plot in group.plots)
    select = f'<select aria-label="plot">{options}</select>' if len(group.plots) > 1 else ""
    return (f'<section class="plots"><h2>{html.escape(group.title)}</h2>{select}'
            f'<div class="scroll"><div class="plot" style="min-width: {group.min_width}px"></div>'
            f'</div><p class="caption">{html.escape(group.caption)}</p></section>')


def _commands(study: Study) -> str:
    return "".join(
        f"<details><summary>{html.escape(arm.name)}</summary>" + "".join(
            f"<p>{html.escape(study.cell_name(run.cell))}: top-1 {100 * run.top1:.2f} %</p>"
            f"<pre>{html.escape(run.command)}</pre>" for run in arm.runs) + "</details>"
        for arm in study.arms)
