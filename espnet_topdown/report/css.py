"""The page's style: light and dark, laptop, phone and paper."""

from __future__ import annotations

from collections.abc import Mapping

from espnet_topdown.report.palette import DARK, LIGHT


def stylesheet() -> str:
    """All rules, with the models' colours as variables."""
    classes = "".join(f".{name}{{--ink:var(--{name})}}" for name in LIGHT)
    return (
        f":root{{{_PAPER}{_variables(LIGHT)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{_NIGHT}"
        f"{_variables(DARK)}}}}}{classes}{_RULES}"
    )


def _variables(colours: Mapping[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())


_PAPER = (
    "color-scheme:light dark;--paper:#fdfcfa;--panel:#fff;--text:#1d2129;"
    "--soft:#5a616e;--hair:#e3e1dc;--rule:#c9c6bf;--on:#fff;--good:#0b7a75;"
)
_NIGHT = (
    "--paper:#14161a;--panel:#1a1d22;--text:#e7e9ee;--soft:#a0a7b4;"
    "--hair:#2a2e36;--rule:#434955;--on:#14161a;--good:#3fc1b4;"
)

_RULES = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--text);
 font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,
 sans-serif;-webkit-text-size-adjust:100%}
main{max-width:68rem;margin:0 auto;padding:3.5rem 1.5rem 4rem}
h1,h2,.lead{font-family:"Iowan Old Style","Palatino Linotype",Palatino,Georgia,
 "Times New Roman",serif;font-weight:600;text-wrap:balance}
.kicker{margin:0;color:var(--soft);font-size:.8rem;letter-spacing:.09em;
 text-transform:uppercase}
h1{margin:.15rem 0 0;font-size:1.15rem;line-height:1.35;overflow-wrap:anywhere}
.lead{margin:1.4rem 0 0;font-size:clamp(1.5rem,3.4vw,2.3rem);line-height:1.22;
 font-weight:500;max-width:46rem}
h2{margin:3.6rem 0 .3rem;padding-top:1rem;border-top:1px solid var(--rule);
 font-size:1.35rem;line-height:1.3}
h3{margin:1.6rem 0 .2rem;font-size:1rem}
p{margin:.4rem 0;max-width:46rem}
.soft,.note,figcaption{color:var(--soft);font-size:.875rem}
ul.plain{margin:.4rem 0 0;padding:0;list-style:none;max-width:60rem}
header ul.plain{margin-top:1.4rem}
ul.plain li{padding:.12rem 0 .12rem 1.1rem;text-indent:-1.1rem}
ul.plain li::before{content:"\\2013\\a0\\a0";color:var(--soft)}
sub{font-size:.72em;line-height:0}
dl.facts{display:flex;flex-wrap:wrap;gap:1.1rem 2.6rem;margin:2rem 0 0;padding:0}
.facts dt{color:var(--soft);font-size:.8rem}
.facts dd{margin:0;font-size:1.3rem;font-variant-numeric:tabular-nums;
 line-height:1.35}
.facts small{display:block;color:var(--soft);font-size:.8rem}
.banner{margin:1.4rem 0 0;padding:.7rem 1rem;border-left:4px solid var(--c5);
 background:var(--panel);max-width:46rem}
.path{margin:.8rem 0 0;font-size:1.1rem;max-width:none}
figure{margin:1.4rem 0 0}
ul.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.6rem;margin:.9rem 0 .5rem;padding:0;
 list-style:none;font-size:.875rem;color:var(--soft)}
.legend li{display:flex;align-items:center}
.legend svg{width:1.5rem;min-width:1.5rem;margin-right:.5rem}
.wide{overflow-x:auto;max-width:100%}
.wide:focus-visible{outline:2px solid var(--c2);outline-offset:3px}
svg{display:block;width:100%;height:auto;font-family:inherit}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums;
 min-width:100%;margin:1rem 0 0}
caption{text-align:left;font-weight:600;padding:0 0 .4rem}
th,td{padding:.42rem .5rem;text-align:left;vertical-align:baseline;
 border-bottom:1px solid var(--hair)}
th:first-child,td:first-child{padding-left:.2rem}
thead th{color:var(--soft);font-weight:600;font-size:.8rem;
 border-bottom:1px solid var(--rule);white-space:nowrap;vertical-align:bottom}
tbody th{font-weight:500;white-space:nowrap}
th:first-child{position:sticky;left:0;background:var(--paper)}
.n{text-align:right;white-space:nowrap}
.t{white-space:nowrap}
.none{color:var(--soft)}
tr.best th,tr.best td{font-weight:700;border-bottom-color:var(--rule);
 border-top:1px solid var(--rule)}
.chip{display:inline-block;width:.7em;height:.7em;margin-right:.45em;border-radius:2px;
 background:var(--ink)}
td svg{width:13rem;min-width:10rem}
pre{margin:1rem 0 0;padding:.8rem 1rem;overflow-x:auto;background:var(--panel);
 border:1px solid var(--hair);border-radius:6px;font-size:.85rem;line-height:1.5;
 white-space:pre-wrap;overflow-wrap:anywhere}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
dl.env{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.4rem;
 margin:1rem 0 0;font-size:.9rem}
.env dt{color:var(--soft)}
.env dd{margin:0;overflow-wrap:anywhere}
footer{margin-top:3.6rem;padding-top:1rem;border-top:1px solid var(--rule)}
svg text{fill:var(--text);font-size:13px}
svg .note,svg .tick,svg .rate{fill:var(--soft);font-size:12px}
svg .tick{font-variant-numeric:tabular-nums}
svg .axis-title{font-size:13px;font-weight:600}
svg .state{fill:var(--soft);font-size:12px}
svg .state.best{fill:var(--ink);font-weight:700}
svg .name{font-size:19px;font-weight:600;
 font-family:"Iowan Old Style","Palatino Linotype",Palatino,Georgia,serif}
svg .sub{font-size:.72em}
svg .value{font-size:15px;font-weight:600;font-variant-numeric:tabular-nums}
svg .frozen{fill:var(--ink)}
svg .joint,svg .copied{fill:var(--ink);fill-opacity:.14;stroke:var(--ink);
 stroke-width:1.2}
svg .new{fill:var(--ink);fill-opacity:.07;stroke:var(--ink);stroke-width:1.4;
 stroke-dasharray:4 3}
svg .missing rect{opacity:.45}
svg .frozen-text text,svg .frozen-text path,svg .mark.frozen-text path{
 fill:var(--on)}
svg .frozen-text text{font-weight:600}
svg .layer{font-size:12.5px}
svg .from{font-size:11px}
svg .small .layer{font-size:11px}svg .small .from{font-size:9.5px}
svg .new-text .from,svg .copied-text .from{fill:var(--soft)}
svg .frame{fill:none;stroke:var(--ink);stroke-width:2}
svg .arrow{fill:none;stroke:var(--soft);stroke-width:1.5}
svg .grid{stroke:var(--hair)}
svg .axis{stroke:var(--rule)}
svg .reference{stroke:var(--base);stroke-width:1.2;stroke-dasharray:2 4}
svg .step{stroke:var(--soft);stroke-width:1.5}
svg .step.refused{stroke-dasharray:3 4}
svg .mark circle,svg .mark path{fill:var(--ink)}
svg .mark .ring{fill:none;stroke:var(--ink);stroke-width:2}
svg .mark .cross{fill:none;stroke:var(--ink);stroke-width:2.6;stroke-linecap:round}
svg .curve{fill:none;stroke:var(--ink);stroke-linejoin:round;stroke-linecap:round}
svg .mark .leader{fill:none;stroke:var(--rule);stroke-width:1}
svg .end{font-size:13px}
svg .bar{stroke:var(--ink);stroke-width:2.4}
svg .zero{stroke:var(--rule)}
@media (max-width:40rem){main{padding:2rem 1rem 3rem}h2{margin-top:2.6rem}
 dl.facts{gap:.9rem 1.8rem}.wide{margin-right:-1rem;padding-right:1rem}}
@page{margin:14mm}
@media print{html{font-size:10.5px;print-color-adjust:exact;
 -webkit-print-color-adjust:exact}body{font-size:1.1rem;background:#fff}
 main{max-width:none;padding:0}.lead{font-size:2.2rem}
 figure,table,pre{break-inside:avoid}h2{break-after:avoid;margin-top:2rem}
 .wide{overflow:visible}svg{min-width:0!important;max-width:100%!important}
 table,thead th{font-size:.86rem}th,td{padding:.25rem .3rem}
 thead th{white-space:normal}th:first-child{background:none}
 td svg{width:9rem;min-width:9rem!important}}
"""
