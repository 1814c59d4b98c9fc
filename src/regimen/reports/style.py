"""The style sheet of the page. Colours come from the palette, light and dark."""

from __future__ import annotations

from regimen.reports.theme import variables

LAYOUT = """
*,*::before,*::after{box-sizing:border-box}
html{scroll-behavior:smooth;scroll-padding-top:3.5rem;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--fg);font:1rem/1.55 var(--sans);
  font-variant-numeric:tabular-nums;overflow-wrap:break-word}
a{color:var(--accent);text-decoration-thickness:1px;text-underline-offset:.18em}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:2px}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:.5rem;z-index:3;background:var(--bg)}
.bar{position:sticky;top:0;z-index:2;display:flex;gap:.75rem;align-items:center;height:2.75rem;
  padding:0 1.25rem;background:var(--bg);border-bottom:1px solid var(--line);
  font-size:.875rem;color:var(--muted)}
.brand{font-weight:650;color:var(--fg)}
.bar button{margin-left:auto}
.page{max-width:960px;margin:0 auto;padding:0 1.25rem}
main{min-width:0}
.contents ol{list-style:none;margin:0;padding:0}
.contents{font-size:.875rem;padding:.9rem 0;border-bottom:1px solid var(--line)}
.contents ol{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem}
.contents a{display:inline-block;padding:.15rem 0;color:var(--muted);text-decoration:none}
.contents a:hover{color:var(--accent);text-decoration:underline}
@media(min-width:1240px){
  .page{display:grid;grid-template-columns:10.5rem minmax(0,960px);column-gap:3.5rem;
    max-width:calc(960px + 14rem + 2.5rem)}
  .contents{position:sticky;top:2.75rem;align-self:start;border:0;padding:4.1rem 0 2rem;
    max-height:calc(100vh - 2.75rem);overflow:auto}
  .contents ol{display:block}
  .contents li{margin:.1rem 0;line-height:1.35}
}
footer{padding:4rem 0 3rem;color:var(--faint);font-size:.8125rem}
"""

TEXT = """
header{padding:3.25rem 0 .5rem}
.eyebrow{margin:0 0 1rem;font-size:.875rem;color:var(--muted)}
h1{margin:0;max-width:24em;font:500 clamp(1.7rem,1.1rem + 2.6vw,2.75rem)/1.18 var(--serif);
  letter-spacing:-.011em;text-wrap:balance}
.evidence{margin:1rem 0 0;font-size:1.1875rem;color:var(--muted);max-width:48rem}
.also{margin:0;padding:0;list-style:none;max-width:50rem;color:var(--muted)}
.glance{margin-top:2rem}
.glance tbody th .small{display:block}
.glance td{font-size:1.0625rem}.glance td .pill{font-size:.8125rem}
.also li{margin:.45rem 0}
.lists{display:grid;gap:0 3rem;margin-top:2rem}
@media(min-width:800px){.lists{grid-template-columns:1fr 1fr}}
.lists h2{margin:1rem 0 .5rem;font:600 .9375rem/1.3 var(--sans)}
.lists ul{margin:0;padding:0;list-style:none;font-size:.9375rem;line-height:1.5}
.lists li{margin:0 0 .55rem}
.lists section:not(:has(.alerts)) li{padding-left:1rem;text-indent:-1rem}
.lists section:not(:has(.alerts)) li::before{content:"\\2013";display:inline-block;width:1rem;
  text-indent:0;color:var(--faint)}
.alerts a{display:grid;grid-template-columns:1.35rem 1fr;color:var(--fg);text-decoration:none}
.alerts a:hover{text-decoration:underline}
.tag{font-size:.75rem;color:var(--faint)}
.bad .tag{color:var(--bad)}.warn .tag{color:var(--warn)}
.part{padding-top:3.75rem}
h2{margin:0 0 .9rem;font:500 1.75rem/1.2 var(--serif);letter-spacing:-.006em}
h2 a{margin-left:.4rem;color:var(--faint);text-decoration:none;opacity:0;font-size:1.1rem}
h2:hover a,h2 a:focus{opacity:1}
h3{margin:2.25rem 0 .75rem;font:600 1.0625rem/1.35 var(--sans)}
h4{margin:0 0 .5rem;font:600 .9375rem/1.35 var(--sans)}
.lead{margin:0 0 1.25rem;max-width:44rem;color:var(--muted)}
.small{font-size:.8125rem;line-height:1.45;color:var(--muted)}
.warning{color:var(--warn)}
code,pre,.tokens{font-family:var(--mono);font-size:.8438rem}
pre{margin:.5rem 0 1rem;padding:.9rem 1rem;background:var(--raised);border-radius:6px;
  overflow:auto;line-height:1.6}
.settings{max-height:32rem}
.differing{list-style:none;margin:0 0 1rem;padding:0;columns:26rem 2;column-gap:3rem;
  font-size:.875rem}
.differing li{padding:.12rem 0;break-inside:avoid;overflow-wrap:anywhere}
.differing code{color:var(--muted);margin-right:.3rem}
summary{cursor:pointer;color:var(--accent);font-size:.9375rem}
summary:hover{text-decoration:underline}
details{margin:.6rem 0}
dl.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(10rem,1fr));gap:1rem 2rem;
  margin:0 0 1rem}
.tiles dt{font-size:.875rem;color:var(--muted)}
.tiles dd{margin:0;font:500 1.6rem/1.25 var(--sans)}
.tiles dd.meaning{font:400 .8125rem/1.4 var(--sans);color:var(--muted)}
"""

FIGURES = """
figure{margin:2rem 0 1.5rem}
figure .head{display:flex;flex-wrap:wrap;gap:.2rem 1.5rem;align-items:baseline;margin-bottom:.6rem}
figure h3,.bars h3{margin:0}
.drawing{min-width:0}
.drawing svg{display:block;max-width:100%;height:auto}
.drawing text{font-family:var(--sans);font-variant-numeric:tabular-nums}
figcaption{margin-top:.6rem;font-size:.8125rem;line-height:1.5;color:var(--muted);max-width:44rem}
.wide{display:none}
@media(min-width:790px){.wide{display:block}.narrow{display:none}}
@media(min-width:1000px){
  figure{display:grid;grid-template-columns:minmax(0,720px) minmax(0,1fr);column-gap:1.75rem}
  figure .head{grid-column:1/-1}
  figcaption{margin-top:1.1rem}
}
.flow text{font-size:12.5px;fill:var(--fg)}
.flow .strong{font-weight:600}.flow .soft{fill:var(--muted)}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:0;font-size:.875rem;color:var(--muted)}
.key>span{display:inline-flex;gap:.4rem;align-items:center}
th svg,.key svg{flex:none}
.bars{margin:1.75rem 0}
.bars .head{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;align-items:baseline;margin-bottom:.75rem}
.bars>div:not(.head){margin:0 0 1rem}
.bars .name{font-size:.9375rem;margin-bottom:.2rem}
.bars .small{margin-top:.2rem}
.stack{display:flex;gap:2px;height:1.6rem}
.stack span{min-width:3px;flex-basis:0;font-size:.8125rem;line-height:1.6rem;padding:0 .4rem;
  overflow:hidden}
.stack span:empty{padding:0}
.stack .bad,.buckets .bad{background:var(--bad);color:var(--bg)}
.stack .good,.buckets .good{background:var(--good);color:var(--bg)}
.stack .wrong,.buckets .wrong{background:var(--wrong);color:var(--fg)}
.stack .right,.buckets .right{background:var(--right);color:var(--fg)}
.buckets i{width:.8rem;height:.8rem}
.facets{margin-top:1.5rem}
.facets section{break-inside:avoid;padding-bottom:1.75rem}
@media(min-width:700px){.facets{columns:2;column-gap:3rem}}
.shares{list-style:none;margin:0;padding:0;font-size:.875rem}
.shares li{position:relative;display:flex;justify-content:space-between;gap:1rem;
  padding:.16rem .4rem;margin-bottom:2px}
.shares .value{position:relative;z-index:1;min-width:0;overflow-wrap:anywhere}
.shares .amount{position:relative;z-index:1;flex:none;color:var(--muted)}
.shares i{position:absolute;inset:0 auto 0 0;background:var(--band);opacity:.55;border-radius:2px}
.tokens{white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.8}
.on{background:var(--good-bg);color:var(--good);text-decoration:underline;
  text-decoration-thickness:1px;text-underline-offset:.25em}
.off{color:var(--muted)}
"""

TABLES = """
.scroll{overflow-x:auto;margin:1rem 0 1.5rem}
table{border-collapse:collapse;font-size:.9rem;width:100%}
caption{text-align:left;font-weight:600;padding:0 0 .45rem}
caption.quiet{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{padding:.42rem 1.4rem .42rem 0;text-align:left;vertical-align:baseline;
  border-bottom:1px solid var(--line)}
th:last-child,td:last-child{padding-right:0}
thead th{font-weight:500;font-size:.8125rem;color:var(--muted);border-bottom-color:var(--faint)}
tbody th{font-weight:400}
tbody th svg{margin-right:.45rem;vertical-align:-1px}
.n{text-align:right;white-space:nowrap}
thead .n{white-space:normal}
.wide.n,td.wide{min-width:14rem}tbody th.wide{min-width:12rem}
td.wide,th.wide{display:table-cell}
td details{margin:0}
.pill{display:inline-block;white-space:nowrap;font-size:.8125rem;padding:.02rem .5rem;
  border-radius:4px;background:var(--raised);color:var(--muted)}
.pill.good{background:var(--good-bg);color:var(--good)}
.pill.bad{background:var(--bad-bg);color:var(--bad)}
.pill.wrong{background:var(--wrong);color:var(--fg)}
.pill.right{background:var(--right);color:var(--fg)}
.examples{margin:.4rem 0;padding-left:1.2rem}
.examples li{margin-bottom:.5rem}.examples p{margin:0}
.text{white-space:pre-wrap;overflow-wrap:anywhere}
.text.none{color:var(--faint)}
.clip{display:inline;margin:0}
.clip summary{display:inline;color:inherit;font-size:inherit;list-style:none}
.clip summary::-webkit-details-marker{display:none}
.clip .more{color:var(--accent)}
.clip[open] .more{display:none}
.controls{display:none;flex-wrap:wrap;gap:.6rem 1rem;align-items:center;margin:.9rem 0}
.scripted .controls{display:flex}
.choices{display:flex;flex-wrap:wrap;gap:.3rem}
button,select,input{font:inherit;font-size:.875rem;color:var(--fg);background:var(--bg);
  border:1px solid var(--line);border-radius:5px;padding:.25rem .6rem;max-width:100%}
button{cursor:pointer}
button:hover{border-color:var(--faint)}
button[aria-pressed=true]{background:var(--fg);color:var(--bg);border-color:var(--fg)}
output{font-size:.875rem;color:var(--muted)}
.sample{max-height:min(52rem,88vh);overflow:auto;border-bottom:1px solid var(--line)}
.sample thead th{position:sticky;top:0;z-index:1;background:var(--bg);
  box-shadow:inset 0 -1px var(--faint)}
.answers{font-size:.8438rem;line-height:1.45;table-layout:fixed}
.answers th:first-child{width:8.2rem}
.answers thead th:nth-child(2){width:24%}
.answers td,.answers th{vertical-align:top;padding-right:1rem}
.answers tbody th .small{display:block;margin-top:.15rem}
.answers thead button{all:unset;cursor:pointer}
.answers thead button:focus-visible{outline:2px solid var(--accent)}
th[aria-sort=ascending] button::after{content:" \\2191"}
th[aria-sort=descending] button::after{content:" \\2193"}
.answers td .mark+div{display:inline}
.mark{display:inline-block;width:1.05rem;font-weight:700}
.mark.yes{color:var(--good)}.mark.no{color:var(--bad)}
@media(max-width:789px){
  .answers,.answers tbody,.answers tr,.answers td,.answers tbody th{display:block;width:auto}
  .answers tr[hidden]{display:none}
  .answers thead{display:none}
  .answers tr{padding:.9rem 0;border-bottom:1px solid var(--line)}
  .answers td,.answers tbody th{border:0;padding:.12rem 0}
  .answers tbody th .small{display:inline;margin-left:.6rem}
  .answers tbody th:first-child{width:auto}
  .answers td{display:grid;grid-template-columns:6.9rem 1.1rem minmax(0,1fr)}
  .answers td::before{content:attr(data-label);color:var(--muted);font-size:.8125rem}
  .answers td .mark+div{grid-column:3}
  .answers td.prompt>*,.answers td:not(:has(.mark))>*{grid-column:2/-1}
}
@media(max-width:600px){
  th,td{padding-right:.9rem}
  dl.tiles{grid-template-columns:1fr 1fr}
  .part{padding-top:3rem}
  header{padding-top:2rem}
}
@media print{
  .bar,.contents,.controls{display:none}
  .part{padding-top:2rem}.sample{max-height:none}
  figure,tr{break-inside:avoid}
}
"""

FONTS = (
    '--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;'
    '--serif:"Iowan Old Style","Palatino Linotype",Palatino,Charter,Georgia,'
    '"Liberation Serif",serif;'
    '--mono:ui-monospace,"SF Mono","Cascadia Mono",Menlo,Consolas,"Liberation Mono",monospace;'
)

STYLE = (
    f":root{{color-scheme:light;{FONTS}{variables(dark=False)}}}"
    f"@media screen and (prefers-color-scheme:dark){{"
    f":root:not([data-theme=light]){{color-scheme:dark;{variables(dark=True)}}}}}"
    f"@media screen{{:root[data-theme=dark]{{color-scheme:dark;{variables(dark=True)}}}}}"
    f"{LAYOUT}{TEXT}{FIGURES}{TABLES}"
)
