"""The page's only script: theme switch, and filter, search and sort of the answers table.

Everything it serves is on the page without it; its controls are shown by it.
"""

SCRIPT = """
(() => {
  "use strict";
  const root = document.documentElement;
  const store = {
    get: () => { try { return localStorage.getItem("regimen-theme"); } catch { return null; } },
    set: (value) => {
      try { localStorage.setItem("regimen-theme", value); } catch { /* a private window */ }
    },
  };
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const saved = store.get();
  if (saved === "light" || saved === "dark") root.dataset.theme = saved;
  root.classList.add("scripted");

  const button = document.getElementById("theme");
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.hidden = false;
  label();
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    store.set(root.dataset.theme);
    label();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);

  const table = document.getElementById("answers-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const search = document.getElementById("answers-search");
  const suite = document.getElementById("answers-suite");
  const shown = document.getElementById("answers-count");
  const none = document.getElementById("answers-none");
  const choices = [...document.querySelectorAll(".choices button")];
  let bucket = "";

  const filter = () => {
    const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let n = 0;
    for (const row of rows) {
      const on = (!bucket || row.dataset.bucket === bucket)
        && (!suite.value || row.dataset.suite === suite.value)
        && words.every((word) => texts.get(row).includes(word));
      row.hidden = !on;
      n += on;
    }
    shown.textContent = `${n} of ${rows.length}`;
    none.hidden = n > 0;
  };
  for (const choice of choices) {
    choice.addEventListener("click", () => {
      bucket = choice.dataset.bucket;
      for (const other of choices) other.setAttribute("aria-pressed", String(other === choice));
      filter();
    });
  }
  search.addEventListener("input", filter);
  suite.addEventListener("input", filter);

  const keyOf = (row, column) => column === 0
    ? Number(row.dataset.rank)
    : row.cells[column].textContent.trim().toLowerCase();
  const order = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b);
  for (const head of table.tHead.rows[0].cells) {
    const column = Number(head.dataset.sort);
    const sorter = document.createElement("button");
    sorter.type = "button";
    sorter.textContent = head.textContent;
    head.replaceChildren(sorter);
    sorter.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sign = down ? -1 : 1;
      body.append(...rows.slice().sort(
        (a, b) => sign * order(keyOf(a, column), keyOf(b, column))
      ));
    });
  }
  filter();
})();
"""
