// The wall moves: cards change as events come in, the filter answers at once, the timeline can be dragged.
const { morph, parse, typing, spellMoment } = window.fusebox;
const tools = document.getElementById("wall-tools");
const pill = document.getElementById("live"), pillWord = document.getElementById("live-word");
const announce = document.getElementById("announce");
const filter = document.getElementById("filter");
const body = () => document.getElementById("wall-body");

const show = (state, word) => { if (pill && pill.dataset.state !== state) { pill.dataset.state = state; pillWord.textContent = word; } };
const sift = () => {
  const words = (filter?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  for (const group of document.querySelectorAll(".group")) {
    let any = false;
    for (const card of group.querySelectorAll(".card")) { card.hidden = !words.every((w) => card.dataset.find.includes(w)); any ||= !card.hidden; }
    group.hidden = !any;
  }
};
const replaceBody = (html) => { const fresh = parse(html).firstElementChild; if (fresh && body()) { morph(body(), fresh); sift(); } };

let stream, retry;
function watch() {
  const url = tools?.dataset.live;
  if (!url) return;
  clearTimeout(retry);
  stream = new EventSource(url);
  stream.onopen = () => show("live", "Live");
  stream.onerror = () => {
    show("lost", "Reconnecting…");
    // An answer that is no stream ends an EventSource for good; ask again later.
    if (stream.readyState === EventSource.CLOSED) retry = setTimeout(watch, 3000);
  };
  stream.addEventListener("wall", (e) => { if (body()) replaceBody(e.data); else if (e.data.includes("class=\"card")) location.reload(); });
  stream.addEventListener("sum", (e) => { const sum = document.getElementById("wall-sum"); if (sum) morph(sum, parse(`<p class="sum" id="wall-sum">${e.data}</p>`).firstElementChild); });
  stream.addEventListener("cards", (e) => {
    for (const { id, html } of JSON.parse(e.data)) { const old = document.getElementById(id), fresh = parse(html).firstElementChild; if (old && fresh) { fresh.hidden = old.hidden; morph(old, fresh); } }
  });
  stream.addEventListener("said", (e) => { if (announce) announce.textContent = e.data; });
}
watch();
addEventListener("pagehide", () => stream?.close());
addEventListener("pageshow", (e) => { if (e.persisted) watch(); });

// The filter answers at once with what is here; a moment later the URL and the other pages of cards follow.
let later;
const asked = () => {
  const query = new URLSearchParams(new FormData(tools));
  for (const [key, value] of [...query]) if (!value || (key === "sort" && value === "worst") || (key === "view" && value === "merged")) query.delete(key);
  return query;
};
const followUp = () => {
  const query = asked();
  const url = query.size ? `/?${query}` : "/";
  history.replaceState(null, "", url);
  return query;
};
const refetch = async () => {
  const query = followUp();
  const answer = await fetch(`/circuits/wall?${query}`);
  if (answer.ok) replaceBody(await answer.text());
  if (tools.dataset.live) { stream?.close(); tools.dataset.live = `/circuits/live?${query}`; watch(); }
};
filter?.addEventListener("input", () => { sift(); clearTimeout(later); later = setTimeout(refetch, 350); });
tools?.addEventListener?.("change", (e) => { if (e.target !== filter) refetch(); });
tools?.addEventListener?.("submit", (e) => { e.preventDefault(); clearTimeout(later); refetch(); });
addEventListener("keydown", (e) => {
  if (e.key === "f" && !typing() && !e.ctrlKey && !e.metaKey && filter) { e.preventDefault(); filter.focus(); filter.select(); }
  if (e.key === "Escape" && e.target === filter && filter.value) { filter.value = ""; sift(); refetch(); }
});

// Dragging the head: the cards follow it, and letting go makes it the address of the page.
const timeline = document.getElementById("timeline"), label = document.getElementById("timeline-label");
if (timeline) {
  const start = Number(timeline.dataset.start), end = Number(timeline.dataset.end);
  const head = timeline.querySelector(".head");
  let at = Number(timeline.dataset.at ?? end);
  let last = 0, busy = false, wanted = null;
  const stamp = (ms) => new Date(ms).toISOString().slice(0, 19);
  timeline.setAttribute("role", "slider");
  timeline.tabIndex = 0;
  timeline.setAttribute("aria-label", "Moment shown");
  timeline.setAttribute("aria-valuemin", start); timeline.setAttribute("aria-valuemax", end);
  const place = (ms) => {
    at = Math.min(end, Math.max(start, ms));
    head.setAttribute("x", ((at - start) / (end - start)) * 997);
    const words = at >= end ? "Now" : spellMoment(at, "full");
    label.textContent = words;
    timeline.setAttribute("aria-valuenow", Math.round(at)); timeline.setAttribute("aria-valuetext", words);
  };
  const address = (path) => { const query = asked(); query.delete("at"); if (at < end) query.set("at", stamp(at)); const text = query.toString(); return text ? `${path}?${text}` : path; };
  const peek = async () => {
    if (busy) { wanted = at; return; }
    busy = true; last = at;
    try { const answer = await fetch(address("/circuits/wall")); if (answer.ok) replaceBody(await answer.text()); } catch { /* the page's own load says what is wrong */ }
    busy = false;
    if (wanted !== null && wanted !== last) { wanted = null; peek(); }
  };
  const fromX = (e) => { const box = timeline.getBoundingClientRect(); return start + ((e.clientX - box.left) / box.width) * (end - start); };
  place(at);
  let dragging = false;
  timeline.addEventListener("click", (e) => e.preventDefault());
  timeline.addEventListener("pointerdown", (e) => { if (e.button) return; dragging = true; stream?.close(); timeline.setPointerCapture(e.pointerId); place(fromX(e)); peek(); e.preventDefault(); timeline.focus(); });
  timeline.addEventListener("pointermove", (e) => { if (dragging) { place(fromX(e)); peek(); } });
  timeline.addEventListener("pointerup", () => { if (dragging) { dragging = false; location.assign(address("/")); } });
  let settle;
  timeline.addEventListener("keydown", (e) => {
    const step = { ArrowLeft: -60e3, ArrowRight: 60e3, PageUp: -3600e3, PageDown: 3600e3 }[e.key];
    if (e.key === "Home") place(start); else if (e.key === "End") place(end); else if (e.key === "Enter") { location.assign(address("/")); return; } else if (step) place(at + step * (e.shiftKey ? 60 : 1)); else return;
    e.preventDefault(); stream?.close(); peek();
    clearTimeout(settle); settle = setTimeout(() => location.assign(address("/")), 1500);
  });
}
