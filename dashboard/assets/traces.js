// The search page: how many newer traces there are.
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
