// On every page: keys, the ages that tick, pages that refresh themselves. Everything works without it.
const typing = () => /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
const help = document.getElementById("help");
document.documentElement.classList.add("js");

// The words are English; a page in another language loads what they are there before this file (words-….js).
const words = window.fuseboxWords ?? {};
/** Returns words in the language of the page, with values in the places `{name}`. */
export const t = (english, values = {}) => (words[english] ?? english).replace(/{(\w+)}/g, (_, name) => values[name]);

/** Makes `old` equal to `next` in place, so that focus, selection and hover stay where they are. */
export function morph(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) { old.replaceWith(next.cloneNode(true)); return; }
  if (old.nodeType !== Node.ELEMENT_NODE) { if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue; return; }
  if (old.isEqualNode(next)) return;
  for (const { name } of [...old.attributes]) if (!next.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  for (const { name, value } of [...next.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old === document.activeElement && /^(INPUT|SELECT)$/.test(old.nodeName)) return;
  // Without a key, a link that comes or goes would turn its neighbours into other links under the focus.
  const key = (node) => node.id || node.dataset?.key;
  const kept = new Map([...old.children].filter(key).map((child) => [key(child), child]));
  const wanted = [...next.childNodes], stays = new Set(wanted.map(key).filter(Boolean));
  // What goes is taken out first: what stays behind it need not be taken out and put in again.
  for (const [name, child] of kept) if (!stays.has(name)) child.remove();
  const like = (one, other) => one.nodeName === other.nodeName && one.classList?.[0] === other.classList?.[0];
  for (let at = 0; at < wanted.length; at++) {
    const want = wanted[at];
    let have = old.childNodes[at];
    const same = key(want) && kept.get(key(want));
    // What comes or goes without a key must not turn what stands behind it into something else, with the focus in it.
    if (have && !key(want) && !key(have) && !like(have, want)) {
      if (wanted.slice(at + 1).some((later) => !key(later) && like(later, have))) { old.insertBefore(want.cloneNode(true), have); continue; }
      if ([...old.childNodes].slice(at + 1).some((later) => !key(later) && like(later, want))) { have.remove(); at--; continue; }
    }
    if (same && same !== have) { old.insertBefore(same, have ?? null); have = same; }
    if (!have) old.append(want.cloneNode(true));
    else if (key(want) !== key(have)) old.insertBefore(want.cloneNode(true), have);
    else morph(have, want);
  }
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

// The server prints UTC; here moments become those of the zone that the viewer chose, or of the browser, in the same shapes.
const DAYS = [t("Sun"), t("Mon"), t("Tue"), t("Wed"), t("Thu"), t("Fri"), t("Sat")];
const MONTHS = [t("Jan"), t("Feb"), t("Mar"), t("Apr"), t("May"), t("Jun"), t("Jul"), t("Aug"), t("Sep"), t("Oct"), t("Nov"), t("Dec")];
const two = (n) => String(n).padStart(2, "0");
let chosen = document.documentElement.dataset.timezone, clock = null;
const FIELDS = { hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" };
try { if (chosen) clock = new Intl.DateTimeFormat("en", { timeZone: chosen, ...FIELDS }); } catch { chosen = ""; /* The browser knows no such zone. */ }
/** How far the zone is ahead of UTC at a moment, milliseconds. */
const ahead = (ms) => {
  if (!clock) return -new Date(ms).getTimezoneOffset() * 60e3;
  const part = Object.fromEntries(clock.formatToParts(ms).map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) - Math.floor(ms / 1000) * 1000;
};
/** Returns a date whose UTC fields are those of the zone. */
const inZone = (ms) => new Date(ms + ahead(ms));
/** Returns the moment at which clocks of the zone show that, as a field for a moment writes it. */
const fromZone = (text) => { const shown = Date.parse(`${text}Z`); return shown - ahead(shown - ahead(shown)); };
/** Spells a moment (Unix milliseconds) in that zone. */
export const spellMoment = (ms, shape) => {
  const d = inZone(ms), day = DAYS[d.getUTCDay()], date = d.getUTCDate(), hm = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`, hms = `${hm}:${two(d.getUTCSeconds())}`;
  if (shape === "hm") return hm;
  const month = MONTHS[d.getUTCMonth()];
  if (shape === "full") return `${t("{day} {date} {month}", { day, date, month })} ${hms}`;
  if (shape === "exact") return `${t("{day} {date}", { day, date })} ${hms}.${String(d.getUTCMilliseconds()).padStart(3, "0")}`;
  const today = inZone(Date.now());
  if (d.toISOString().slice(0, 10) === today.toISOString().slice(0, 10)) return hms;
  return Date.now() - ms < 7 * 86400e3 ? t("{day} {time}", { day, time: hm }) : t("{date} {month} {time}", { date, month, time: hm });
};
/** Rewrites the moments below an element that the server drew. */
const localise = (root) => { for (const el of root.querySelectorAll("time[data-shape]")) el.textContent = spellMoment(Date.parse(el.dateTime), el.dataset.shape); for (const el of root.querySelectorAll("[data-moment]")) el.textContent = spellMoment(Number(el.dataset.moment), "hm"); return root; };

/** The path in front of all of ours, behind some proxies. */
const root = document.documentElement.dataset.root ?? "";
/** Adds that path to links which came without it, in events. */
const rooted = (made) => {
  if (root) for (const name of ["href", "action"]) for (const el of made.querySelectorAll(`[${name}^="/"]`)) if (!el.getAttribute(name).startsWith(`${root}/`)) el.setAttribute(name, root + el.getAttribute(name));
  return made;
};

/** Reads one element out of HTML that our own server drew. */
export const parse = (html) => { const made = document.createElement("template"); made.innerHTML = html.trim(); return localise(rooted(made.content)); };

// Title and icon say what is open and whether the page still follows the collector.
const icon = document.getElementById("icon"), plainIcon = icon?.getAttribute("href"), plainTitle = document.title;
let open = 0, lostSince = null, lastNews = Date.now();
const retitle = () => {
  const mark = lostSince ? "(!) " : open ? `(${t("{n} open", { n: open })}) ` : "";
  if (document.title !== mark + plainTitle) document.title = mark + plainTitle;
  const wanted = open ? icon?.dataset.open : plainIcon;
  if (icon && icon.getAttribute("href") !== wanted) icon.setAttribute("href", wanted);
};
/** Shows how many circuits are open in the title and the icon. */
export const setOpen = (count) => { open = count; retitle(); };
/** Returns when the collector was last heard, Unix milliseconds. */
export const newsAt = () => lastNews;
/** Notes that the collector answered. */
export const heard = () => {
  lastNews = Date.now();
  if (lostSince === null) return;
  lostSince = null;
  document.documentElement.classList.remove("is-lost");
  const banner = document.getElementById("lost");
  banner.hidden = true; banner.textContent = "";
  retitle();
};
/** Notes that the collector does not answer: what is shown may be old, and the page says so until it is heard again. */
export const lost = () => {
  if (lostSince !== null) return;
  lostSince = lastNews;
  document.documentElement.classList.add("is-lost");
  const banner = document.getElementById("lost");
  banner.hidden = false;
  banner.textContent = t("No news from the collector since {time}. What you see may be old. Trying again…", { time: spellMoment(lostSince, "short") });
  retitle();
};

window.fusebox = { root, t, morph, parse, typing, spellMoment, setOpen, newsAt, heard, lost };
localise(document);
const foot = document.getElementById("zone");
const zone = chosen || Intl.DateTimeFormat().resolvedOptions().timeZone;
if (foot && zone !== "UTC") foot.textContent = t("Times are in {zone}.", { zone: zone || t("your time zone") });

// Fields for a moment hold the time of the zone as well; what is sent is UTC, as the address says it.
for (const el of document.querySelectorAll("input[data-utc]")) {
  if (el.value) el.value = inZone(Date.parse(`${el.value}Z`)).toISOString().slice(0, 19);
  el.form.addEventListener("formdata", (e) => { const ms = el.value ? fromZone(el.value) : NaN; if (ms) e.formData.set(el.name, new Date(ms).toISOString().slice(0, 19)); });
}
for (const el of document.querySelectorAll("[data-zone]")) el.textContent = chosen || t("local");
const zones = document.getElementById("zones");
if (zones && Intl.supportedValuesOf) for (const name of Intl.supportedValuesOf("timeZone")) if (name !== "UTC") zones.append(new Option(name, name));

const spell = (ms) => {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return t("{n} s", { n: s });
  if (s < 3600) return t("{n} min", { n: Math.floor(s / 60) });
  if (s < 86400) return t("{h} h {min} min", { h: Math.floor(s / 3600), min: Math.floor((s % 3600) / 60) });
  return t("{n} d", { n: Math.floor(s / 86400) });
};
const tick = () => {
  if (document.hidden || lostSince !== null) return;
  const now = Date.now();
  for (const el of document.querySelectorAll("[data-since]")) { const said = t("for {age}", { age: spell(now - el.dataset.since) }); if (el.textContent !== said) el.textContent = said; }
  for (const el of document.querySelectorAll("[data-until]")) { const left = el.dataset.until - now; const said = left > 0 ? t("tries again in {age}", { age: spell(left + 999) }) : t("probe due"); if (el.textContent !== said) el.textContent = said; }
};
setInterval(tick, 1000);

addEventListener("keydown", (e) => {
  if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === "Escape" && typing()) { document.activeElement.blur(); return; }
  if (typing() || help.open) return;
  if (e.key === "/") { e.preventDefault(); document.getElementById("jump").focus(); }
  if (e.key === "?") { e.preventDefault(); help.showModal(); }
});

// A field names its key behind some blanks, which means nothing where there are no keys.
if (matchMedia("(pointer: coarse)").matches) for (const field of document.querySelectorAll("input[placeholder]")) [field.placeholder] = field.placeholder.split("   ");

// What was left empty or as usual does not lengthen the address.
for (const form of document.querySelectorAll("form[method=get]")) form.addEventListener("formdata", (e) => {
  for (const name of new Set(e.formData.keys())) {
    const typed = e.formData.getAll(name).filter((value) => value !== "");
    e.formData.delete(name);
    for (const value of typed) e.formData.append(name, value);
  }
  if (e.formData.get("order") === "newest") e.formData.delete("order");
});
// A range of one's own asks for its times first.
for (const el of document.querySelectorAll("[data-submit]")) el.addEventListener("change", () => { if (el.value !== "custom") el.form.requestSubmit(); });

// Pages that follow what happens without a stream of their own ask again every few seconds.
const again = document.querySelector("[data-refresh]");
if (again) setInterval(async () => {
  if (document.hidden || document.querySelector("dialog[open]")) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(10e3) });
    if (!answer.ok) return lost();
    heard();
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-refresh]");
    if (fresh) morph(again, localise(fresh));
  } catch { lost(); }
}, 1000 * Number(again.dataset.refresh));
