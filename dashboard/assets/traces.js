// The search page: how many newer traces there are, and an area dragged in the drawing of all traces that becomes a search.
const { heard, lost, parse } = window.fusebox, AGAIN = 10e3;
const fresh = document.getElementById("fresh");
/** Asks how many newer traces there are; a page that is not looked at does not ask. */
async function ask() {
  if (document.hidden) return;
  try {
    const answer = await fetch(fresh.dataset.ask, { signal: AbortSignal.timeout(AGAIN) });
    if (!answer.ok) return lost();
    heard();
    const next = parse(await answer.text());
    // The same words are not announced again, and a link that has the focus keeps it.
    const link = fresh.querySelector("a"), other = next.querySelector("a");
    if (link && other) { if (link.textContent !== other.textContent) link.replaceChildren(...other.childNodes); } else fresh.replaceChildren(next);
  } catch { lost(); }
}
if (fresh) { setInterval(ask, AGAIN); document.addEventListener("visibilitychange", ask); }

const scatter = document.getElementById("scatter");
if (scatter) {
  const area = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  area.setAttribute("class", "area");
  let from = null;
  const at = (e) => { const box = scatter.getBoundingClientRect(); return [Math.min(1, Math.max(0, (e.clientX - box.left) / box.width)), Math.min(1, Math.max(0, (e.clientY - box.top) / box.height))]; };
  const draw = ([x, y]) => {
    const put = (name, value) => area.setAttribute(name, `${value * 100}%`);
    put("x", Math.min(x, from[0])); put("y", Math.min(y, from[1])); put("width", Math.abs(x - from[0])); put("height", Math.abs(y - from[1]));
  };
  // The drawing leaves one hundredth free at its sides, and a twentieth above and below.
  const time = (x) => Number(scatter.dataset.start) + (x - 0.01) / 0.98 * (scatter.dataset.end - scatter.dataset.start);
  const took = (y) => { const [low, high] = [Math.log(scatter.dataset.shortest), Math.log(scatter.dataset.longest)]; return Math.exp(low + (0.95 - y) / 0.9 * (high - low)); };
  const search = (to) => {
    const query = new URLSearchParams(location.search), [left, right] = [from[0], to[0]].sort((a, b) => a - b), [top, bottom] = [from[1], to[1]].sort((a, b) => a - b);
    for (const name of ["range", "cursor"]) query.delete(name);
    query.set("start", new Date(Math.floor(time(left) / 1e6)).toISOString()); query.set("end", new Date(Math.ceil(time(right) / 1e6) + 1).toISOString());
    query.set("trace_min", `${Math.max(0, Math.floor(took(bottom)))}ns`); query.set("trace_max", `${Math.ceil(took(top))}ns`);
    location.assign(`/traces?${query}`);
  };
  scatter.addEventListener("pointerdown", (e) => { if (e.button) return; from = at(e); });
  addEventListener("pointermove", (e) => { if (!from) return; e.preventDefault(); if (!area.isConnected) scatter.append(area); draw(at(e)); });
  addEventListener("pointerup", (e) => {
    if (!from) return;
    const to = at(e), is = Math.abs(to[0] - from[0]) > 0.02;
    area.remove();
    if (is) search(to);
    from = null;
  });
  // A link is not followed where an area was dragged over it.
  scatter.addEventListener("dragstart", (e) => e.preventDefault());
}
