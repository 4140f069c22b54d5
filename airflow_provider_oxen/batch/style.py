"""What the contact sheet looks like: light and dark, on a screen and on paper."""

__all__ = ["STYLE"]

STYLE = """
:root{color-scheme:light dark;--page:#f7f7f5;--card:#fff;--line:#e2e2dd;--text:#1d1d1b;--muted:#5c5c57;
--link:#1a5296;--well:#efefec;--good:#3f8f63;--kept:#8a9aa8;--bad:#b3261e;--bad-card:#fdf3f2;--doubt:#8a5a00;
--doubt-card:#fdf7e9}
@media (prefers-color-scheme:dark){:root{--page:#151517;--card:#1e1e21;--line:#34343a;--text:#ecece8;
--muted:#a8a8a2;--link:#93bdf5;--well:#2a2a2e;--good:#5fb286;--kept:#74838f;--bad:#ff9c92;--bad-card:#2b1a19;
--doubt:#efbf63;--doubt-card:#292114}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:90rem;padding:2.5rem clamp(1rem,4vw,3rem);background:var(--page);
color:var(--text);overflow-wrap:anywhere;
font:.9375rem/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1,h2,h3,p,dl,dd,ol,ul{margin:0;padding:0}
h1{font-size:1.75rem;font-weight:650;line-height:1.2;letter-spacing:-.01em;margin:.15rem 0 .4rem}
h2{font-size:1.0625rem;font-weight:650;margin:2.5rem 0 .35rem}
h3{font-size:.875rem;font-weight:600}
a{color:var(--link);text-underline-offset:.15em}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
small,.muted{color:var(--muted);font-size:.8125rem}
.kicker{font-size:.75rem;font-weight:600;letter-spacing:.08em;text-transform:uppercase;color:var(--muted)}
.note{margin-top:1rem;padding:.5rem .8rem;border-left:3px solid var(--doubt);background:var(--doubt-card)}
.bar{display:flex;gap:2px;height:6px;margin:1.5rem 0 1rem;border-radius:3px;overflow:hidden;
background:var(--line)}
.bar i{min-width:3px;background:var(--kept)}
.bar .generated{background:var(--good)}
.bar .failed{background:var(--bad)}
.bar .unknown{background:var(--doubt)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.5rem,1fr));gap:1rem 1.5rem}
dt{font-size:.8125rem;color:var(--muted)}
dd{font-size:1.375rem;font-weight:600;line-height:1.25;font-variant-numeric:tabular-nums}
dd small{display:block;font-weight:400}
dl .failed dd{color:var(--bad)}dl .unknown dd{color:var(--doubt)}
.missing{list-style:none;margin-top:.6rem;border-top:1px solid var(--line)}
.missing li{display:flex;flex-wrap:wrap;align-items:baseline;gap:0 .75rem;padding:.4rem 0;
border-bottom:1px solid var(--line)}
.grid{list-style:none;display:grid;grid-template-columns:repeat(auto-fill,minmax(min(20rem,100%),1fr));
gap:.75rem;margin-top:.75rem;content-visibility:auto;contain-intrinsic-size:auto 190rem}
.grid li{display:grid;grid-template-columns:6rem minmax(0,1fr);gap:.9rem;padding:.75rem;
background:var(--card);border:1px solid var(--line);border-radius:6px;scroll-margin:1rem}
.grid .failed{background:var(--bad-card);border-color:var(--bad)}
.grid .unknown{background:var(--doubt-card);border-color:var(--doubt)}
.grid li:target{outline:3px solid var(--link);outline-offset:-3px}
.picture{display:grid;place-items:center;width:6rem;height:6rem;padding:.25rem;border-radius:3px;
background:var(--well);color:var(--muted);font-size:.8125rem;line-height:1.2;text-align:center}
.picture:has(img){padding:0}
.picture img{display:block;max-width:100%;max-height:100%;border-radius:3px}
.told{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:.2rem .6rem;align-content:start}
.told p{grid-column:1/-1}
.badge{align-self:start;font-size:.75rem;color:var(--muted)}
.failed .badge,.error{color:var(--bad)}.unknown .badge,.unknown .error{color:var(--doubt)}
.failed .badge,.unknown .badge{font-weight:600}
.missing .badge{align-self:baseline}
.error{font-size:.8125rem}
footer{margin-top:2.5rem;padding-top:1rem;border-top:1px solid var(--line)}
@media print{.grid{content-visibility:visible}.grid li{break-inside:avoid}}
"""
