// The wall moves: cards change as events come in, the filter answers at once, the timeline can be dragged.
const { root, t, morph, parse, typing, spellMoment, setOpen, newsAt, heard, lost } = window.fusebox;
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

// The title counts what the line of totals says.
const countOpen = () => setOpen(Number(document.querySelector("#wall-sum b.open")?.textContent.replace(/\D/g, "") ?? 0));

// What has to move glides there, so that the eye can follow it; who prefers less motion sees it in its new place at once.
const still = matchMedia("(prefers-reduced-motion: reduce)"), GLIDE_MS = 400;
const MOVERS = "#wall-sum > span, .group, .group > h2, .group > h2 > *, .card, .card > *, .card > * > *, .pages";
const isSeen = (box) => box.bottom > 0 && box.top < innerHeight;
/** What may move: of a card that is not seen nothing within. */
const movers = () => [...body()?.querySelectorAll("#wall-sum > span, .group, .group > h2, .group > h2 > *, .card, .pages") ?? []]
  .flatMap((el) => el.matches(".card") && isSeen(el.getBoundingClientRect()) ? [el, ...el.querySelectorAll(":scope > *, :scope > * > *")] : [el]);
/** How far each is from where it belongs, and since when it glides there. */
const gliding = new Map();
const advance = (now) => {
  for (const [el, { x, y, since }] of gliding) {
    const left = Math.max(0, 1 - Math.max(0, now - since) / GLIDE_MS) ** 3;
    if (left && el.isConnected) el.style.transform = `translate(${x * left}px, ${y * left}px)`; else { el.removeAttribute("style"); gliding.delete(el); }
  }
  if (gliding.size) requestAnimationFrame(advance);
};
/** Changes the wall and lets what is elsewhere then glide from where it was. */
const glide = (change) => {
  if (still.matches || document.hidden) { change(); return; }
  const before = new Map();
  for (const el of movers()) { const box = el.getBoundingClientRect(); before.set(el, box); if (el.id) before.set(el.id, box); }
  const wasGliding = gliding.size > 0;
  for (const el of gliding.keys()) el.removeAttribute("style");
  gliding.clear();
  change();
  // All places are read before anything is moved; within what glides only the rest of the way is left.
  const moved = new Map(), since = performance.now();
  for (const el of movers()) {
    const old = before.get(el) ?? before.get(el.id), now = el.getBoundingClientRect();
    if (old && (isSeen(old) || isSeen(now))) moved.set(el, [old.left - now.left, old.top - now.top]);
  }
  for (const [el, [x, y]] of moved) {
    const around = moved.get(el.parentElement.closest(MOVERS)) ?? [0, 0];
    const [dx, dy] = [x - around[0], y - around[1]];
    if (Math.abs(dx) + Math.abs(dy) < 1) continue;
    el.style.transform = `translate(${dx}px, ${dy}px)`;
    gliding.set(el, { x: dx, y: dy, since });
  }
  if (gliding.size && !wasGliding) requestAnimationFrame(advance);
};
const links = (card) => [...card.querySelectorAll("a")];
const replaceBody = (fresh) => {
  if (!fresh || !body()) return;
  const focused = document.activeElement, card = focused?.closest?.(".card");
  const link = card ? links(card).indexOf(focused) : -1;
  glide(() => morph(body(), fresh));
  sift();
  countOpen();
  // A card that moved to another group is a new element.
  if (link >= 0 && document.activeElement !== focused) links(document.getElementById(card.id) ?? card)[link]?.focus({ preventScroll: true });
};
const replaceCard = (id, html) => {
  const old = document.getElementById(id), fresh = parse(html).firstElementChild;
  if (!old || !fresh) return;
  fresh.hidden = old.hidden;
  morph(old, fresh);
};
/** Gives a group that is shown the words of its heading. */
const reword = (group) => {
  const old = [...body().querySelectorAll(".group")].find((shown) => shown.dataset.key === group.dataset.key);
  if (!old) return;
  old.setAttribute("aria-label", group.getAttribute("aria-label"));
  morph(old.querySelector("h2"), parse(group.querySelector("h2").outerHTML).firstElementChild);
};

// No card moves under the pointer or the focus: its figures change where it stands, as do
// the words of headings, and the new order waits.
let order = null;
const isInUse = () => body().matches(":hover") || body().contains(document.activeElement);
const arrange = (html) => {
  const fresh = parse(html).firstElementChild;
  if (!fresh || !isInUse()) { order = null; replaceBody(fresh); return; }
  order = fresh;
  for (const card of fresh.querySelectorAll(".card")) replaceCard(card.id, card.outerHTML);
  for (const group of fresh.querySelectorAll(".group")) reword(group);
};
const settleOrder = () => { if (order && !isInUse()) { const fresh = order; order = null; replaceBody(fresh); } };
addEventListener("pointermove", settleOrder);
addEventListener("focusout", () => setTimeout(settleOrder));
document.documentElement.addEventListener("pointerleave", settleOrder);

// What the browser keeps; one that keeps nothing refuses even to be asked.
const storage = (name) => { try { return window[name]; } catch { return null; } };

// A notification of the browser about what opened or closed while the page is not looked at, when asked for.
const choice = storage("localStorage"), NOTIFY = "fusebox-notify", bell = document.getElementById("notify");
const notifies = () => Notification.permission === "granted" && choice.getItem(NOTIFY) === "on";
const notify = (words) => {
  if (!bell || bell.hidden || !document.hidden || !notifies()) return;
  // Browsers of phones have the permission but not the notification.
  try { new Notification("Fusebox", { body: words, tag: NOTIFY, renotify: true }); } catch { bell.hidden = true; }
};
if (bell && choice && isSecureContext && "Notification" in window) {
  const draw = () => bell.setAttribute("aria-pressed", notifies());
  bell.hidden = false;
  draw();
  bell.addEventListener("click", async () => {
    if (notifies()) choice.removeItem(NOTIFY); else if (await Notification.requestPermission() === "granted") choice.setItem(NOTIFY, "on");
    draw();
  });
}

/** Longest time without a message: the totals come every second. */
const SILENCE_MS = 6000;
let stream, retry;
const listen = (name, act) => stream.addEventListener(name, (e) => { heard(); show("live", t("Live")); act(e.data); });
const isLost = () => { lost(); show("lost", t("Reconnecting…")); };
function watch() {
  const url = tools?.dataset.live;
  if (!url) return;
  clearTimeout(retry);
  stream = new EventSource(url);
  stream.onopen = () => { heard(); show("live", t("Live")); };
  stream.onerror = () => {
    isLost();
    // An answer that is no stream ends an EventSource for good; ask again later.
    if (stream.readyState === EventSource.CLOSED) retry = setTimeout(watch, 3000);
  };
  listen("wall", (html) => { if (body()) arrange(html); else if (html.includes("class=\"card")) location.reload(); });
  listen("sum", (html) => { const sum = document.getElementById("wall-sum"); if (sum) glide(() => morph(sum, parse(`<p class="sum" id="wall-sum">${html}</p>`).firstElementChild)); countOpen(); });
  listen("cards", (cards) => {
    glide(() => {
      for (const { id, html } of JSON.parse(cards)) {
        replaceCard(id, html);
        order?.querySelector(`#${id}`)?.replaceWith(parse(html).firstElementChild);
      }
    });
  });
  listen("said", (words) => { if (announce) announce.textContent = words; notify(words); });
}
watch();
countOpen();
// A connection that died without a word reports no error.
setInterval(() => {
  if (document.hidden || stream?.readyState !== EventSource.OPEN || Date.now() - newsAt() < SILENCE_MS) return;
  isLost();
  stream.close();
  watch();
}, 2000);
addEventListener("pagehide", () => stream?.close());
addEventListener("pageshow", (e) => { if (e.persisted) watch(); });

// The pill pauses: the moment goes into the address, where it can be shared.
if (pill?.nodeName === "A") pill.addEventListener("click", (e) => { e.preventDefault(); const query = asked(); query.set("at", new Date(newsAt()).toISOString().slice(0, 19)); location.assign(`${root}/?${query}`); });

// The filter answers at once with what is here; a moment later the URL and the other pages of cards follow.
let later;
const asked = () => {
  const query = new URLSearchParams(new FormData(tools));
  for (const [key, value] of [...query]) if (!value || (key === "sort" && value === "worst")) query.delete(key);
  return query;
};
const followUp = () => {
  const query = asked();
  const url = query.size ? `${root}/?${query}` : `${root}/`;
  history.replaceState(null, "", url);
  return query;
};
const refetch = async () => {
  const query = followUp();
  order = null;
  const answer = await fetch(`${root}/circuits/wall?${query}`);
  if (answer.ok) replaceBody(parse(await answer.text()).firstElementChild);
  if (tools.dataset.live) { stream?.close(); tools.dataset.live = `${root}/circuits/live?${query}`; watch(); }
};
filter?.addEventListener("input", () => { sift(); clearTimeout(later); later = setTimeout(refetch, 350); });
tools?.addEventListener?.("change", (e) => { if (e.target !== filter) refetch(); });
tools?.addEventListener?.("submit", (e) => { e.preventDefault(); clearTimeout(later); refetch(); });
addEventListener("keydown", (e) => {
  if (e.key === "f" && !typing() && !e.ctrlKey && !e.metaKey && filter) { e.preventDefault(); filter.focus(); filter.select(); }
  if (e.key === "Escape" && e.target === filter && filter.value) { filter.value = ""; sift(); refetch(); }
});

// The popover stays open, and the focus on its step, while one steps through the time.
const popover = document.querySelector(".when-go"), session = storage("sessionStorage"), STEP = "fusebox-step";
if (popover && session) {
  const steps = [...popover.querySelectorAll("a")], last = session.getItem(STEP);
  session.removeItem(STEP);
  if (last) { popover.open = true; steps.find((step) => step.textContent === last)?.focus(); }
  for (const step of steps) step.addEventListener("click", () => session.setItem(STEP, step.textContent));
}

// Dragging the head: the cards follow it, and letting go makes it the address of the page.
const timeline = document.getElementById("timeline"), label = document.getElementById("timeline-label");
if (timeline) {
  const start = Number(timeline.dataset.start), end = Number(timeline.dataset.end), endsNow = timeline.dataset.live === "1";
  const head = timeline.querySelector(".head");
  let at = Number(timeline.dataset.at ?? end);
  let last = 0, busy = false, wanted = null;
  const stamp = (ms) => new Date(ms).toISOString().slice(0, 19);
  // The slider holds no links: it lies beside those of the picture, which the keyboard does not need then.
  const grip = document.createElement("div");
  grip.className = "grip";
  grip.tabIndex = 0;
  for (const [name, value] of [["role", "slider"], ["aria-label", t("Moment shown")], ["aria-valuemin", start], ["aria-valuemax", end]]) grip.setAttribute(name, value);
  timeline.append(grip);
  for (const link of timeline.querySelectorAll(".marks a")) link.setAttribute("tabindex", "-1");
  const isNow = () => endsNow && at >= end;
  const place = (ms) => {
    at = Math.min(end, Math.max(start, ms));
    head.setAttribute("x", ((at - start) / (end - start)) * 997);
    const words = isNow() ? t("Now") : spellMoment(at, "full");
    label.textContent = words;
    grip.setAttribute("aria-valuenow", Math.round(at)); grip.setAttribute("aria-valuetext", words);
  };
  const address = (path) => { const query = asked(); query.delete("at"); if (!isNow()) query.set("at", stamp(at)); const text = query.toString(); return root + (text ? `${path}?${text}` : path); };
  const peek = async () => {
    if (busy) { wanted = at; return; }
    busy = true; last = at;
    try { const answer = await fetch(address("/circuits/wall")); if (answer.ok) replaceBody(parse(await answer.text()).firstElementChild); } catch { /* the page's own load says what is wrong */ }
    busy = false;
    if (wanted !== null && wanted !== last) { wanted = null; peek(); }
  };
  const fromX = (e) => { const box = timeline.getBoundingClientRect(); return start + ((e.clientX - box.left) / box.width) * (end - start); };
  place(at);
  let dragging = false;
  timeline.addEventListener("click", (e) => e.preventDefault());
  timeline.addEventListener("pointerdown", (e) => { if (e.button) return; dragging = true; stream?.close(); timeline.setPointerCapture(e.pointerId); place(fromX(e)); peek(); e.preventDefault(); grip.focus(); });
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
