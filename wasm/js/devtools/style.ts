// How the panel looks: the system's colours, light and dark, and nothing that the app's style could reach.

export const STYLE = `
:host {
  all: initial;
  --back: #fff; --front: #16211f; --soft: #53625f; --line: #c9d3d1; --tint: #eef4f3; --accent: #0b6b62; --bad: #a3261b; --on-accent: #fff;
  position: fixed; inset: auto 0 0 auto; z-index: 2147483000; color-scheme: light dark;
  font: 13px/1.45 system-ui, sans-serif; color: var(--front);
}
@media (prefers-color-scheme: dark) {
  :host { --back: #141b1a; --front: #e7efed; --soft: #a3b3b0; --line: #3a4845; --tint: #1e2827; --accent: #5fd0c2; --bad: #ff9d92; --on-accent: #06211e; }
}
* { box-sizing: border-box; }
button, input, textarea { font: inherit; color: inherit; }
button { background: var(--tint); border: 1px solid var(--line); border-radius: 5px; padding: 3px 9px; min-height: 28px; cursor: pointer; }
button:hover { border-color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.opener { margin: 12px; border-radius: 16px; background: var(--back); display: flex; gap: 7px; align-items: center; }
.dot { width: 9px; height: 9px; border-radius: 50%; background: var(--soft); }
.dot[data-state="online"] { background: #1b9e77; }
.dot[data-state="error"] { background: #d1495b; }
.panel {
  width: min(720px, 100vw); height: min(420px, 70vh); display: flex; flex-direction: column;
  background: var(--back); border: 1px solid var(--line); border-radius: 8px 0 0 0; box-shadow: 0 2px 18px rgb(0 0 0 / 18%);
}
header { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; padding: 7px 10px; border-bottom: 1px solid var(--line); }
header .state { margin-right: auto; display: flex; gap: 7px; align-items: center; }
h2 { font-size: 13px; margin: 0; }
label.switch { display: flex; gap: 5px; align-items: center; min-height: 28px; }
[role=tablist] { display: flex; gap: 2px; padding: 4px 8px 0; border-bottom: 1px solid var(--line); overflow-x: auto; }
[role=tab] { border: 0; border-bottom: 2px solid transparent; border-radius: 0; background: none; }
[role=tab][aria-selected=true] { border-bottom-color: var(--accent); font-weight: 600; }
[role=tabpanel] { flex: 1; overflow: auto; padding: 10px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 14px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow: auto; margin: 0 0 10px; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: 600; padding: 2px 0 4px; }
th, td { text-align: left; vertical-align: top; padding: 3px 8px 3px 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; }
td code { overflow-wrap: anywhere; }
code, textarea { font-family: ui-monospace, monospace; font-size: 12px; }
textarea { width: 100%; min-height: 56px; background: var(--tint); border: 1px solid var(--line); border-radius: 5px; padding: 6px; }
.actions { display: flex; flex-wrap: wrap; gap: 6px; margin: 6px 0; }
.bad { color: var(--bad); }
.empty { color: var(--soft); margin: 4px 0 10px; }
progress { width: 100%; accent-color: var(--accent); }
.said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`
