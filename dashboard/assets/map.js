// The map shows the neighbours of the service under the pointer or the focus: all else is dimmed.
let shown = null;
const dim = (node) => {
  const map = node?.closest("svg.map") ?? document.querySelector("svg.map");
  if (!map) return;
  shown = node?.dataset.node ?? null;
  const near = new Set([shown]);
  for (const edge of map.querySelectorAll(".edge")) {
    const touches = shown === null || edge.dataset.from === shown || edge.dataset.to === shown;
    edge.classList.toggle("is-dim", !touches);
    if (touches) near.add(edge.dataset.from).add(edge.dataset.to);
  }
  for (const other of map.querySelectorAll("[data-node]")) other.classList.toggle("is-dim", shown !== null && !near.has(other.dataset.node));
};
const nodeOf = (e) => e.target.closest?.("svg.map [data-node]");
addEventListener("pointerover", (e) => { const node = nodeOf(e); if (node || shown !== null) dim(node ?? document.activeElement.closest?.("[data-node]")); });
addEventListener("focusin", (e) => dim(nodeOf(e) ?? null));
addEventListener("focusout", () => dim(null));
// A refresh draws the map anew.
new MutationObserver(() => { if (shown !== null) dim(document.querySelector(`svg.map [data-node="${shown}"]`)); }).observe(document.getElementById("main"), { childList: true, subtree: true });
