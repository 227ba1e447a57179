// On every page: keys, the ages that tick, pages that refresh themselves. Everything works without it.
const typing = () => /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
const help = document.getElementById("help");
document.documentElement.classList.add("js");

/** Makes `old` equal to `next` in place, so that focus, selection and hover stay where they are. */
export function morph(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) { old.replaceWith(next.cloneNode(true)); return; }
  if (old.nodeType !== Node.ELEMENT_NODE) { if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue; return; }
  if (old.isEqualNode(next)) return;
  for (const { name } of [...old.attributes]) if (!next.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  for (const { name, value } of [...next.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old === document.activeElement && /^(INPUT|SELECT)$/.test(old.nodeName)) return;
  const kept = new Map([...old.children].filter((c) => c.id).map((c) => [c.id, c]));
  const wanted = [...next.childNodes];
  for (let at = 0; at < wanted.length; at++) {
    const want = wanted[at];
    let have = old.childNodes[at];
    const same = want.id && kept.get(want.id);
    if (same && same !== have) { old.insertBefore(same, have ?? null); have = same; }
    if (!have) old.append(want.cloneNode(true));
    else if (want.id && !same) old.insertBefore(want.cloneNode(true), have);
    else morph(have, want);
  }
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

/** Reads one element out of HTML that our own server drew. */
export const parse = (html) => { const t = document.createElement("template"); t.innerHTML = html.trim(); return t.content; };
window.fusebox = { morph, parse, typing };

const spell = (ms) => {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d`;
};
const tick = () => {
  if (document.hidden) return;
  const now = Date.now();
  for (const el of document.querySelectorAll("[data-since]")) { const t = `for ${spell(now - el.dataset.since)}`; if (el.textContent !== t) el.textContent = t; }
  for (const el of document.querySelectorAll("[data-until]")) { const left = el.dataset.until - now; const t = left > 0 ? `tries again in ${spell(left + 999)}` : "probe due"; if (el.textContent !== t) el.textContent = t; }
};
setInterval(tick, 1000);

addEventListener("keydown", (e) => {
  if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === "Escape" && typing()) { document.activeElement.blur(); return; }
  if (typing() || help.open) return;
  if (e.key === "/") { e.preventDefault(); document.getElementById("jump").focus(); }
  if (e.key === "?") { e.preventDefault(); help.showModal(); }
});

for (const el of document.querySelectorAll("[data-submit]")) el.addEventListener("change", () => el.form.requestSubmit());

// Pages that follow what happens without a stream of their own ask again every few seconds.
const again = document.querySelector("[data-refresh]");
if (again) setInterval(async () => {
  if (document.hidden || document.querySelector("dialog[open]")) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-refresh]");
    if (fresh) morph(again, fresh);
  } catch { /* the next round asks again */ }
}, 1000 * Number(again.dataset.refresh));
