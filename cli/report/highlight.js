// Regions: their colours, their chips, and the one that is highlighted in every plot and table.
const regionCount = data.region_count;  // a product-key network is one, whatever its experts
const regionsDrawn = Math.min(regionCount, 32);
let picked = null;
const listeners = [];

function colour(region) {
  return data.colours[region - 1] ?? "#7b8190";
}

/** Elements that belong to a region carry data-region; on a selection the others step back. */
function markPicked(root) {
  for (const node of root.querySelectorAll("[data-region]"))
    node.classList.toggle("on", picked !== null && Number(node.dataset.region) === picked);
}

function pick(region) {
  picked = region === picked ? null : region;
  document.body.classList.toggle("picked", picked !== null);
  document.body.dataset.picked = picked ?? "";
  markPicked(document);
  for (const chip of document.querySelectorAll(".chip"))
    chip.setAttribute("aria-pressed", String(Number(chip.dataset.region) === picked));
  for (const listener of listeners) listener(picked);
}

function onPick(listener) {
  listeners.push(listener);
}

function chip(region) {
  const button = el("button", { type: "button", class: "chip", "data-region": region, "aria-pressed": "false",
    title: `Region ${region}: highlight it everywhere` }, String(region));
  button.style.setProperty("--region", colour(region));
  return button;
}

document.addEventListener("click", event => {
  const target = event.target instanceof Element ? event.target : null;
  const marked = target?.closest("[data-region]");
  if (marked) pick(Number(marked.dataset.region));
});
document.addEventListener("keydown", event => {
  if (event.key === "Escape" && picked !== null) pick(picked);
});
