// The call tree: fold and open without leaving the page, keys, and rows that come as they scroll in.
const { parse, typing } = window.fusebox;
const tools = document.getElementById("tree-tools"), rows = document.getElementById("rows"), find = document.getElementById("find");
const base = tools.dataset.href, CHUNK = 500, ROW = 28;
const current = () => new URL(location.href).searchParams;
const address = (query) => { const text = query.toString(); return text ? `${base}?${text}` : base; };

/** Fetches rows of the current view. */
const fetchRows = async (query, from, to) => {
  const ask = new URLSearchParams(query);
  ask.set("from", from); ask.set("to", to);
  const answer = await fetch(`${base}/rows?${ask}`);
  if (!answer.ok) throw new Error(`rows: ${answer.status}`);
  return parse(await answer.text()).querySelector(".chunk");
};

const watcher = new IntersectionObserver((seen) => { for (const s of seen) if (s.isIntersecting) load(s.target); }, { rootMargin: "1500px" });
async function load(hole) {
  watcher.unobserve(hole);
  try { const chunk = await fetchRows(current(), hole.dataset.from, hole.dataset.to); if (hole.isConnected && chunk) hole.replaceWith(chunk); }
  catch { hole.textContent = "Could not load these rows. Scroll here again to retry."; setTimeout(() => watcher.observe(hole), 3000); }
}

/** Puts a hole of the right height for each chunk that is not here yet. */
function holes() {
  const last = rows.querySelector(".chunk:last-of-type");
  if (!last) return;
  for (const more of rows.querySelectorAll(".more")) if (more.nextElementSibling === null) more.remove();
  const total = Number(last.dataset.total);
  for (let from = Number(last.dataset.to); from < total; from += CHUNK) {
    const hole = document.createElement("div"), to = Math.min(total, from + CHUNK);
    hole.className = "hole wait"; hole.dataset.from = from; hole.dataset.to = to; hole.style.height = `${(to - from) * ROW}px`; hole.textContent = "…";
    rows.append(hole); watcher.observe(hole);
  }
}

/** Draws the tree anew as that view has it; the server knows how. */
async function redraw(query, focus) {
  query.delete("from"); query.delete("to");
  const reach = Math.max(CHUNK, ...[...rows.querySelectorAll(".chunk")].map((c) => Number(c.dataset.to)));
  try {
    const pieces = [];
    for (let from = 0; from < reach; from += CHUNK) { const piece = await fetchRows(query, from, from + CHUNK); pieces.push(piece); if (Number(piece.dataset.to) >= Number(piece.dataset.total)) break; }
    rows.replaceChildren(...pieces);
    history.replaceState(null, "", address(query));
    holes();
    if (focus) document.getElementById(focus)?.querySelector("a.fold, a.t")?.focus({ preventScroll: true });
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
    if (answer.ok && row.classList.contains("sel")) { row.querySelector(".detail")?.remove(); row.append(parse(await answer.text())); }
  }
  history.replaceState(null, "", address(query));
}

rows.addEventListener("click", (e) => {
  if (e.ctrlKey || e.metaKey || e.shiftKey || e.button) return;
  const link = e.target.closest("a.fold, a.t");
  const row = link?.closest(".row");
  if (!row) return;
  e.preventDefault();
  if (link.classList.contains("t")) { mark(row); toggleDetail(row); }
  else redraw(new URL(link.href).searchParams, row.id);
});
tools.addEventListener("click", (e) => { const link = e.target.closest("a[data-fold]"); if (link && !e.ctrlKey && !e.metaKey) { e.preventDefault(); fold(link.dataset.fold); } });

const deepest = Number(tools.dataset.deepest);
function fold(action) {
  const query = current(), open = Number(query.get("depth") ?? deepest);
  query.delete("fold");
  const levels = { "unfold-all": deepest, "fold-all": 1, more: open + 1, fewer: Math.max(1, open - 1) }[action];
  if (levels >= deepest) query.delete("depth"); else query.set("depth", levels);
  redraw(query);
}

const all = () => [...rows.querySelectorAll("li.row")];
let marked = rows.querySelector(".row.sel");
function mark(row) { marked = row; (row?.querySelector("a.t") ?? row?.querySelector("a.fold"))?.focus({ preventScroll: true }); row?.scrollIntoView({ block: "nearest" }); }
const step = (by) => {
  const list = all().filter((r) => !find.value || r.classList.contains("hit") || !rows.querySelector(".hit"));
  if (marked && !marked.isConnected) marked = document.getElementById(marked.id);
  const at = list.indexOf(marked);
  mark(list[Math.min(list.length - 1, Math.max(0, at < 0 ? 0 : at + by))]);
};
addEventListener("keydown", (e) => {
  if (e.ctrlKey && e.key === "b") { e.preventDefault(); find.focus(); find.select(); return; }
  if (e.key === "Escape") { if (e.target === find && find.value) { find.value = ""; tools.requestSubmit(); } else if (!typing()) { const open = rows.querySelector(".row.sel"); if (open) toggleDetail(open); } return; }
  if (typing() || e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
  const act = { f: () => step(1), b: () => step(-1), "[": () => fold("unfold-all"), "]": () => fold("fold-all"), o: () => fold("more"), p: () => fold("fewer") }[e.key];
  if (act) { e.preventDefault(); act(); }
});
holes();
