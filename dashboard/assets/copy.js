// Buttons that copy a text or the address of the page; without this script there are none.
/** Copies a text; outside of a secure context only the old way works. */
async function copy(text, button) {
  try { await navigator.clipboard.writeText(text); }
  catch { const area = document.createElement("textarea"); area.value = text; document.body.append(area); area.select(); document.execCommand("copy"); area.remove(); button.focus(); }
  const word = button.textContent;
  button.textContent = window.fusebox.t("Copied"); button.dataset.copied = "yes";
  setTimeout(() => { button.textContent = word; }, 1500);
}
window.fusebox.copy = copy;
for (const button of document.querySelectorAll("[data-copy], [data-copy-link]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button.dataset.copy ?? location.href, button));
}
