// The panel: requests of the inspected page whose responses name their trace, and the call tree of the selected one, which
// the collector is asked for. Nothing is sent anywhere else, and nothing but address and token is kept.
import { rowsOf, spell, traceOf } from "./trace.js";

const REQUESTS_MAX = 500, ROWS_MAX = 2000, TRIES = 5, AGAIN_MS = 1000;
const part = (id) => document.getElementById(id);
const said = (words) => { part("said").textContent = words; };
let where = { address: "http://127.0.0.1:9411", token: "" }, selected = null;

/** Returns an element with a text. */
const element = (tag, className, words) => { const made = document.createElement(tag); made.className = className; made.textContent = words; return made; };

/** Adds a request that a HAR entry describes, if its response names a trace. */
function add(entry) {
  const trace = traceOf(entry);
  if (!trace) return;
  part("none").hidden = true;
  const button = element("button", entry.response.status >= 400 ? "wrong" : "", "");
  button.type = "button"; button.dataset.trace = trace;
  const path = new URL(entry.request.url);
  button.title = entry.request.url;
  button.append(element("b", "", `${entry.request.method} ${path.pathname}${path.search}`), element("span", "", `${entry.response.status || "failed"} · ${spell(entry.time ?? 0)}`));
  button.addEventListener("click", () => select(button));
  const item = document.createElement("li");
  item.append(button);
  part("requests").append(item);
  while (part("requests").children.length > REQUESTS_MAX) part("requests").firstChild.remove();
}

/** Asks the collector for a trace; a trace that has only just ended may not have arrived there. */
async function ask(trace, isWanted) {
  const headers = where.token ? { authorization: `Bearer ${where.token}` } : {};
  for (let left = TRIES; ; left--) {
    const answer = await fetch(`${where.address}/api/traces/${trace}`, { headers, signal: AbortSignal.timeout(10e3) });
    if (answer.ok) return answer.json();
    if (answer.status !== 404 || left <= 1 || !isWanted()) throw new Error(answer.status === 401 ? "the collector wants a token" : (await answer.json().catch(() => ({}))).detail ?? `status ${answer.status}`);
    said("Waiting for the spans of this request…");
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

async function select(button) {
  selected?.removeAttribute("aria-current");
  selected = button;
  button.setAttribute("aria-current", "true");
  part("tree").replaceChildren();
  said("Asking the collector…");
  const isWanted = () => selected === button;
  try {
    const trace = await ask(button.dataset.trace, isWanted);
    if (isWanted()) show(trace, button.dataset.trace);
  } catch (error) {
    if (isWanted()) refuse(error);
  }
}

/** Says why there is no tree, and offers what can help: a browser may have to be asked for the address first. */
function refuse(error) {
  said(`No call tree from ${where.address}: ${error.message}.`);
  if (!(error instanceof TypeError) || !globalThis.chrome?.permissions) return;
  const allow = element("button", "", `Let this panel ask ${where.address}`);
  const { protocol, hostname } = new URL(where.address);
  allow.addEventListener("click", async () => { if (await chrome.permissions.request({ origins: [`${protocol}//${hostname}/*`] })) select(selected); });
  part("tree").replaceChildren(allow);
}

function show(trace, id) {
  const { rows, length } = rowsOf(trace);
  const head = document.createElement("p"), link = element("a", "", "Open in Fusebox");
  link.href = `${where.address}/traces/${id}`; link.target = "_blank"; link.rel = "noreferrer";
  head.append(link);
  const list = element("ol", "rows", "");
  for (const row of rows.slice(0, ROWS_MAX)) {
    const item = element("li", row.isWrong ? "wrong" : "", ""), name = element("span", "name", "");
    name.style.paddingInlineStart = `${Math.min(row.depth, 20) * 12}px`;
    name.append(element("b", "", row.service), ` ${row.name}`);
    // A call through a closed breaker that went well says nothing.
    const [state, outcome] = [row.state ?? "closed", row.outcome ?? "success"];
    if (row.circuit && (state !== "closed" || outcome !== "success")) name.append(element("i", `chip ${outcome}`, outcome === "success" ? state : outcome));
    name.title = `${row.service} ${row.name}`;
    const lane = element("span", "lane", ""), bar = element("span", "bar", "");
    const share = (ms) => (length ? (ms / length) * 100 : 0);
    bar.style.insetInlineStart = `${share(row.at)}%`; bar.style.width = `max(2px, ${share(row.took)}%)`;
    lane.append(bar);
    item.append(name, lane, element("span", "took", spell(row.took)));
    list.append(item);
  }
  part("tree").replaceChildren(head, list);
  const left = rows.length - ROWS_MAX;
  said(`${rows.length} spans, ${spell(length)}${left > 0 ? `; ${left} more in Fusebox` : ""}${trace.truncated ? "; too large to load in full" : ""}`);
}

part("where").addEventListener("submit", (e) => {
  e.preventDefault();
  where = { address: new URL(part("address").value).origin, token: part("token").value.trim() };
  globalThis.chrome?.storage?.local.set(where);
  if (selected) select(selected);
});
part("clear").addEventListener("click", () => { part("requests").replaceChildren(); part("tree").replaceChildren(); said(""); selected = null; part("none").hidden = false; });

const kept = await globalThis.chrome?.storage?.local.get(["address", "token"]);
where = { ...where, ...kept };
part("address").value = where.address; part("token").value = where.token;

// Opened as a page by itself it inspects nothing; what is put into `fuseboxPanel` is shown.
globalThis.fuseboxPanel = { add };
const network = globalThis.chrome?.devtools?.network;
network?.getHAR((har) => har.entries.forEach(add));
network?.onRequestFinished.addListener(add);
