// The call tree: fold and open without leaving the page, keys, and rows that come as they scroll in.
const { t, copy, parse, typing } = window.fusebox;
const tools = document.getElementById("tree-tools"), rows = document.getElementById("rows"), find = document.getElementById("find");
const base = tools.dataset.href, CHUNK = 500, ROW = 28, SCROLL = 10 * ROW;
// What is shown is what the rows say; the address of a match or of rows further down would say more than that.
const chunkAt = (end) => { const all = rows.querySelectorAll(".chunk"); return all[end < 0 ? all.length - 1 : 0]; };
const current = () => new URLSearchParams(chunkAt(0)?.dataset.query ?? "");
const address = (query) => { const text = query.toString(); return text ? `${base}?${text}` : base; };

/** Fetches rows of a view: those of that range, or those around the row `near`. */
const fetchRows = async (query, more) => {
  const ask = new URLSearchParams([...new URLSearchParams(query), ...Object.entries(more)]);
  const answer = await fetch(`${base}/rows?${ask}`);
  if (!answer.ok) throw new Error(`rows: ${answer.status}`);
  return parse(await answer.text()).querySelector(".chunk");
};

const watcher = new IntersectionObserver((seen) => { for (const s of seen) if (s.isIntersecting) load(s.target); }, { rootMargin: "1500px" });
async function load(hole) {
  watcher.unobserve(hole);
  const { from, to } = hole.dataset;
  try { const chunk = await fetchRows(current(), { from, to }); if (hole.isConnected && chunk) hole.replaceWith(chunk); }
  catch { hole.textContent = t("Could not load these rows. Scroll here again to retry."); setTimeout(() => watcher.observe(hole), 3000); }
}

const hole = (from, to) => {
  const made = document.createElement("div");
  made.className = "hole wait"; made.dataset.from = from; made.dataset.to = to; made.style.height = `${(to - from) * ROW}px`; made.textContent = "…";
  watcher.observe(made);
  return made;
};
/** Puts a hole of the right height for each chunk before and after those that are here. */
function holes() {
  const first = chunkAt(0), last = chunkAt(-1);
  if (!last) return;
  for (const more of rows.querySelectorAll(".more")) more.remove();
  const total = Number(last.dataset.total);
  for (let to = Number(first.dataset.from), from; to > 0; to = from) { from = Math.max(0, to - CHUNK); first.parentNode.insertBefore(hole(from, to), rows.firstChild); }
  for (let from = Number(last.dataset.to); from < total; from += CHUNK) rows.append(hole(from, Math.min(total, from + CHUNK)));
}

/** The row at the top of what can be seen. */
const topRow = () => [...rows.querySelectorAll("li.row")].find((row) => row.getBoundingClientRect().bottom > 80);

/** Draws the tree anew as that view has it; the server knows how. The row `near`, or what it is folded into, stays where it is. */
async function redraw(query, near, focus) {
  for (const name of ["from", "to", "near", "hit"]) query.delete(name);
  const before = near && rows.querySelector(`[data-id="${near}"]`)?.getBoundingClientRect().top;
  try {
    const chunk = await fetchRows(query, near ? { near } : { from: 0 });
    rows.replaceChildren(chunk);
    history.replaceState(null, "", address(query));
    holes();
    const row = near && rows.querySelector(".row.here");
    if (row && before !== undefined) scrollBy(0, row.getBoundingClientRect().top - before);
    if (focus) row?.querySelector("a.fold, a.t")?.focus({ preventScroll: true });
  } catch { location.assign(address(query)); }
}

async function toggleDetail(row) {
  const query = current(), open = row.querySelector(".detail");
  for (const other of rows.querySelectorAll(".row.sel")) { other.classList.remove("sel"); other.querySelector(".detail")?.remove(); other.querySelector("a.t")?.removeAttribute("aria-current"); }
  if (open) query.delete("span");
  else {
    query.set("span", row.dataset.id);
    row.classList.add("sel"); row.querySelector("a.t")?.setAttribute("aria-current", "true");
    const answer = await fetch(`${base}/spans/${row.dataset.id}`);
    if (answer.ok && row.classList.contains("sel")) { row.querySelector(".detail")?.remove(); row.append(parse(await answer.text())); addCopies(row); }
  }
  history.replaceState(null, "", address(query));
  for (const chunk of rows.querySelectorAll(".chunk")) chunk.dataset.query = query;
}

rows.addEventListener("click", (e) => {
  if (e.ctrlKey || e.metaKey || e.shiftKey || e.button) return;
  const link = e.target.closest("a.fold, a.t");
  const row = link?.closest(".row");
  if (!row) return;
  e.preventDefault();
  if (link.classList.contains("t")) { mark(row); toggleDetail(row); }
  else redraw(new URL(link.href).searchParams, row.dataset.id, true);
});
tools.addEventListener("click", (e) => { const link = e.target.closest("a[data-fold]"); if (link && !e.ctrlKey && !e.metaKey) { e.preventDefault(); fold(link.dataset.fold); } });

/** Puts a button behind each value of a detail. */
function addCopies(root) {
  for (const value of root.querySelectorAll(".detail .kv dd")) {
    if (value.querySelector(".copy")) continue;
    const button = document.createElement("button");
    button.type = "button"; button.className = "copy"; button.textContent = t("Copy");
    button.setAttribute("aria-label", t("Copy {name}", { name: value.previousElementSibling?.textContent.trim() ?? "" }));
    button.addEventListener("click", () => copy((value.querySelector("[data-value]")?.dataset.value ?? value.querySelector("bdi, pre")?.textContent ?? "").trim(), button));
    value.append(button);
  }
}
addCopies(rows);

// The column of names is as wide as its edge is dragged or moved by arrow keys to; the browser keeps it.
const tree = document.getElementById("tree"), edge = document.createElement("div");
const WIDTH = "fusebox.names", NARROWEST = 15, WIDEST = 85;
const setWidth = (percent) => {
  const width = Math.round(Math.min(WIDEST, Math.max(NARROWEST, percent)));
  tree.style.setProperty("--names", `${width}%`);
  edge.setAttribute("aria-valuenow", width);
  try { localStorage.setItem(WIDTH, width); } catch { /* Not kept then. */ }
};
edge.className = "edge"; edge.tabIndex = 0;
for (const [name, value] of Object.entries({ role: "separator", "aria-orientation": "vertical", "aria-label": t("Width of the names"), "aria-valuemin": NARROWEST, "aria-valuemax": WIDEST })) edge.setAttribute(name, value);
tree.prepend(edge);
let kept = null;
try { kept = localStorage.getItem(WIDTH); } catch { /* As wide as usual. */ }
if (Number(kept)) setWidth(Number(kept)); else edge.setAttribute("aria-valuenow", 40);
edge.addEventListener("pointerdown", (e) => { edge.setPointerCapture(e.pointerId); e.preventDefault(); });
edge.addEventListener("pointermove", (e) => { if (edge.hasPointerCapture(e.pointerId)) { const box = tree.getBoundingClientRect(); setWidth((e.clientX - box.left) / box.width * 100); } });
edge.addEventListener("keydown", (e) => { const by = { ArrowLeft: -5, ArrowRight: 5 }[e.key]; if (by) { e.preventDefault(); e.stopPropagation(); setWidth(Number(edge.getAttribute("aria-valuenow")) + by); } });

// A part of the time can be looked at: the lanes are as many times as wide, and moved.
const range = document.getElementById("lanes-range"), DEEPEST_ZOOM = 1000;
let zoom = 1, pan = 0;
const percent = (share) => `${Number((share * 100).toFixed(share < 0.01 ? 2 : 1))} %`;
/** Shows that part of the time: `times` as near, from the share `from` on. */
function look(times, from) {
  zoom = Math.min(DEEPEST_ZOOM, Math.max(1, times));
  pan = Math.min(1 - 1 / zoom, Math.max(0, from));
  tree.style.setProperty("--zoom", zoom); tree.style.setProperty("--pan", pan);
  tree.classList.toggle("is-zoomed", zoom > 1);
  if (range) range.textContent = zoom > 1 ? t("time from {from} to {to}; Esc shows all", { from: percent(pan), to: percent(pan + 1 / zoom) }) : "";
}
const panBy = (share) => look(zoom, pan + share / zoom);
const zoomBy = (times) => { const middle = pan + 0.5 / zoom, next = Math.min(DEEPEST_ZOOM, Math.max(1, zoom * times)); look(next, middle - 0.5 / next); };
const LOOK = {
  a: () => panBy(-0.1), d: () => panBy(0.1), A: () => panBy(-0.5), D: () => panBy(0.5),
  ArrowLeft: (e) => panBy(e.shiftKey ? -0.5 : -0.1), ArrowRight: (e) => panBy(e.shiftKey ? 0.5 : 0.1),
  ArrowUp: (e) => zoomBy(e.shiftKey ? 4 : 1.25), ArrowDown: (e) => zoomBy(1 / (e.shiftKey ? 4 : 1.25)),
};

const deepest = Number(tools.dataset.deepest);
function fold(action) {
  const query = current(), open = Number(query.get("depth") ?? deepest);
  query.delete("fold");
  const levels = { "unfold-all": deepest, "fold-all": 1, more: open + 1, fewer: Math.max(1, open - 1) }[action];
  if (levels >= deepest) query.delete("depth"); else query.set("depth", levels);
  redraw(query, (marked?.isConnected ? marked : topRow())?.dataset.id, rows.contains(document.activeElement));
}

const all = () => [...rows.querySelectorAll("li.row")];
let marked = rows.querySelector(".row.here") ?? rows.querySelector(".row.sel");
function mark(row) { marked = row; (row?.querySelector("a.t") ?? row?.querySelector("a.fold"))?.focus({ preventScroll: true }); row?.scrollIntoView({ block: "nearest" }); }
const step = (by) => {
  if (marked && !marked.isConnected) marked = document.getElementById(marked.id);
  const looked = find.value && (rows.querySelector(".hit") || document.getElementById("hit-after"));
  const list = all().filter((r) => !looked || r.classList.contains("hit"));
  const at = marked ? list.indexOf(marked) : -1;
  const next = list[at < 0 ? 0 : at + by];
  // Beyond the rows that are here the server knows where the next match is.
  if (!next && looked) document.getElementById(by > 0 ? "hit-after" : "hit-before")?.click();
  else mark(next ?? marked);
};
addEventListener("keydown", (e) => {
  if (e.ctrlKey && e.key === "b") { e.preventDefault(); find.focus(); find.select(); return; }
  if (e.key === "Escape") { if (e.target === find && find.value) { find.value = ""; tools.requestSubmit(); } else if (!typing() && zoom > 1) look(1, 0); else if (!typing()) { const open = rows.querySelector(".row.sel"); if (open) toggleDetail(open); } return; }
  if (typing() || e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
  const act = { s: () => scrollBy(0, SCROLL), w: () => scrollBy(0, -SCROLL), f: () => step(1), b: () => step(-1), "[": () => fold("unfold-all"), "]": () => fold("fold-all"), o: () => fold("more"), p: () => fold("fewer"), ...LOOK }[e.key];
  // A zoom of one has nothing to the left or right, and the page scrolls as usual.
  if (zoom === 1 && /^Arrow(Left|Right|Down)$/.test(e.key)) return;
  if (act) { e.preventDefault(); act(e); }
});
// Scripts run before the page is where its address leads; the rows that were put before it must not move it.
const here = rows.querySelector(".row.here");
holes();
if (here && /[?&](span|hit|q|near)=/.test(location.search)) here.scrollIntoView({ block: "center" });
