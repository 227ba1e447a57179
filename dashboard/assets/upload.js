// The upload of files: each is sent by itself, one after the other, and what is wrong is said beside its name.
const { root, t } = window.fusebox;
const form = document.getElementById("upload"), files = document.getElementById("files"), said = document.getElementById("upload-said");
const choice = files.querySelector("input"), pasted = form.querySelector("textarea");
files.hidden = false;
pasted.required = false;

/** Sends one file; returns where it can be looked at. */
async function send(file) {
  const answer = await fetch(form.action, { method: "POST", body: file, headers: { "content-type": "application/json", accept: "text/html" } });
  if (answer.ok) return new URL(answer.url).pathname;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  throw new Error(page.querySelector("main p")?.textContent.trim() || t("status {code}", { code: answer.status }));
}

form.addEventListener("submit", async (e) => {
  if (!choice.files.length) { if (!pasted.value.trim()) { e.preventDefault(); choice.focus(); } return; }
  e.preventDefault();
  const wrong = [];
  let places = [];
  for (const file of choice.files) {
    said.textContent = t("Sending {file}…", { file: file.name });
    try { places.push(await send(file)); } catch (error) { wrong.push(`${file.name}: ${error.message}`); }
  }
  said.textContent = wrong.join("; ");
  places = [...new Set(places)];
  if (!wrong.length) location.assign(places.length === 1 ? places[0] : `${root}/upload`);
});
