// A chart with `data-search`: an area that is dragged becomes this search, within the area's times (`data-start`, `data-end`: Unix
// nanoseconds) and durations (`data-shortest`, `data-longest`: nanoseconds, logarithmic). A chart with both has times to the right
// and durations upwards. Of a chart with bars, the bars that the area touches are searched as they are when clicked. The listeners are the document's, because a page that refreshes itself may draw the chart anew.
const area = document.createElementNS("http://www.w3.org/2000/svg", "rect");
area.setAttribute("class", "area");
let chart = null, from = null, wasDragged = false;
const clamp = (share) => Math.min(1, Math.max(0, share));
/** Returns the place of the pointer in the chart, from 0 to 1 in both directions. */
const place = (e) => { const box = chart.getBoundingClientRect(); return [clamp((e.clientX - box.left) / box.width), clamp((e.clientY - box.top) / box.height)]; };
/** Returns the bounds of the area to a place: left to right, top to bottom. */
const bounds = (to) => [0, 1].map((axis) => [from[axis], to[axis]].sort((a, b) => a - b));
/** Returns the left and right end of a bar, from 0 to 1. */
const ends = (bar) => { const box = chart.getBoundingClientRect(), { left, right } = bar.firstElementChild.getBoundingClientRect(); return [left, right].map((x) => clamp((x - box.left) / box.width)); };
/** Returns the bars that an area touches, left to right; a plot has none. */
const touched = ([left, right]) => isPlot() ? [] : [...chart.querySelectorAll("a")].filter((bar) => { const [start, end] = ends(bar); return start < right && end > left; });
/** Returns the bounds of an area with the whole of the bars that it touches; a chart in one direction is taken from top to bottom. */
function whole([across, down]) {
  const bars = touched(across);
  if (bars.length) across = [Math.min(across[0], ends(bars[0])[0]), Math.max(across[1], ends(bars.at(-1))[1])];
  return [across, isPlot() ? down : [0, 1]];
}
const isPlot = () => "start" in chart.dataset && "longest" in chart.dataset;
/** Returns the search for the area between two bounds. */
function search([across, down]) {
  const { search, start, end, shortest, longest } = chart.dataset, url = new URL(search, location), put = (name, value) => url.searchParams.set(name, value);
  const bars = touched(across);
  if (bars.length) {
    const of = (bar, ...names) => { const its = new URL(bar.getAttribute("href"), location).searchParams; for (const name of names) if (its.has(name)) put(name, its.get(name)); };
    of(bars[0], "start", "trace_min"); of(bars.at(-1), "end", "trace_max");
    return url;
  }
  // The points of a plot leave one hundredth free at its sides, and a twentieth above and below.
  const [right, up] = isPlot() ? [across.map((x) => (x - 0.01) / 0.98), down.map((y) => (0.95 - y) / 0.9).reverse()] : [across, across];
  if (start) {
    const time = (share) => (Number(start) + share * (end - start)) / 1e6;
    put("start", new Date(Math.floor(time(right[0]))).toISOString()); put("end", new Date(Math.ceil(time(right[1])) + 1).toISOString());
  }
  if (longest) {
    const took = (share) => Math.exp(Math.log(shortest) + share * Math.log(longest / shortest));
    put("trace_min", `${Math.floor(took(up[0]))}ns`); put("trace_max", `${Math.ceil(took(up[1]))}ns`);
  }
  return url;
}
addEventListener("pointerdown", (e) => { wasDragged = false; chart = e.button ? null : e.target.closest?.("svg[data-search]"); if (chart) from = place(e); });
addEventListener("pointermove", (e) => {
  if (!chart) return;
  e.preventDefault();
  if (!area.isConnected) chart.append(area);
  const [[left, right], [top, bottom]] = whole(bounds(place(e))), put = (name, share) => area.setAttribute(name, `${share * 100}%`);
  put("x", left); put("width", right - left); put("y", top); put("height", bottom - top);
});
addEventListener("pointerup", (e) => {
  if (!chart) return;
  const [across, down] = bounds(place(e));
  area.remove();
  wasDragged = across[1] - across[0] > 0.02;
  if (wasDragged) location.assign(search([across, down]));
  chart = null;
});
// A finger that begins to scroll has not dragged.
addEventListener("pointercancel", () => { area.remove(); chart = null; });
// Nor is the bar in which a drag begins and ends followed.
addEventListener("click", (e) => { if (wasDragged && e.target.closest?.("svg[data-search]")) e.preventDefault(); }, true);
// A bar is not dragged as a link.
addEventListener("dragstart", (e) => { if (e.target.closest?.("svg[data-search]")) e.preventDefault(); });
