// A chart over time: an area that is dragged becomes a search in its time. The listeners are the document's, because a page that
// refreshes itself may draw the chart anew.
const area = document.createElementNS("http://www.w3.org/2000/svg", "rect");
area.setAttribute("class", "area"); area.setAttribute("height", "106");
let chart = null, from = 0, wasDragged = false;
/** Returns the place of the pointer between the ends of the chart, from 0 to 1. */
const place = (e) => { const box = chart.getBoundingClientRect(); return Math.min(1, Math.max(0, (e.clientX - box.left) / box.width)); };
/** Returns a place as a time of the address, in UTC. */
const time = (at) => { const start = Number(chart.dataset.start); return new Date(start + at * (chart.dataset.end - start)).toISOString().slice(0, 19); };
addEventListener("pointerdown", (e) => { wasDragged = false; chart = e.button ? null : e.target.closest?.("svg[data-search]"); if (chart) from = place(e); });
addEventListener("pointermove", (e) => {
  if (!chart) return;
  e.preventDefault();
  const to = place(e);
  if (!area.isConnected) chart.append(area);
  area.setAttribute("x", `${Math.min(from, to) * 100}%`); area.setAttribute("width", `${Math.abs(to - from) * 100}%`);
});
addEventListener("pointerup", (e) => {
  if (!chart) return;
  const [left, right] = [from, place(e)].sort((a, b) => a - b);
  area.remove();
  wasDragged = right - left > 0.02;
  if (wasDragged) { const query = new URLSearchParams({ start: time(left), end: time(right) }); location.assign(`${chart.dataset.search}&${query}`); }
  chart = null;
});
// A finger that begins to scroll has not dragged.
addEventListener("pointercancel", () => { area.remove(); chart = null; });
// Nor is the bar in which a drag begins and ends followed.
addEventListener("click", (e) => { if (wasDragged && e.target.closest?.("svg[data-search]")) e.preventDefault(); }, true);
// A bar is not dragged as a link.
addEventListener("dragstart", (e) => { if (e.target.closest?.("svg[data-search]")) e.preventDefault(); });
