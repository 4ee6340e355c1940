// Building the page. Texts of the data reach it as text nodes and attributes only, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const P = globalThis.MoekitPlot;  // missing in a build without npm

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  return add(node, children);
}

/** Appends what is there: nothing for null, each of a list. */
function add(node, ...children) {
  for (const child of children.flat(Infinity))
    if (child !== null && child !== undefined && child !== "")
      node.append(child instanceof Node ? child : String(child));
  return node;
}

/** A name of the user: cut where it is long (in full on hovering), kept from turning the text around it. */
function name(text, most = 28) {
  const characters = [...String(text ?? "")];
  const cut = characters.length > most;
  return el("bdi", { dir: "auto", title: cut ? text : null, class: "name" },
    cut ? characters.slice(0, most - 1).join("") + "…" : String(text ?? ""));
}

/** The same for texts inside a plot, which has no elements: isolated by Unicode. */
function plain(text, most = 22) {
  const characters = [...String(text ?? "").replace(/[\u2066-\u2069\u202a-\u202e]/g, "")];
  const short = characters.length > most ? characters.slice(0, most - 1).join("") + "…" : characters.join("");
  return "\u2068" + short + "\u2069";
}

function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e7 || size < 1e-4) return value.toExponential(2).replace("e+", "e").replace("-", "−");
  return String(Number(value.toPrecision(size >= 1000 ? Math.max(digits, 5) : digits))).replace("-", "−");
}

function percent(share, digits = 3) {
  return share === null || share === undefined ? "–" : number(100 * share, digits) + " %";
}

/** heads: texts or nodes, "#" in front: a column of numbers. rows: lists of cells, or {cells, region}. */
function table(heads, rows) {
  const right = heads.map(head => typeof head === "string" && head.startsWith("#"));
  const line = (cells, tag) => cells.map((cell, j) => el(tag, { class: right[j] ? "number" : null }, cell));
  const body = rows.map(row => {
    const cells = row.cells ?? row;
    return el("tr", { "data-region": row.region ?? null }, line(cells, "td"));
  });
  return el("div", { class: "scroll", tabindex: "0" }, el("table", {},
    el("thead", {}, el("tr", {}, line(heads.map((h, j) => right[j] ? h.slice(1) : h), "th"))),
    el("tbody", {}, body)));
}

function details(summary, ...children) {
  return el("details", {}, el("summary", {}, summary), children);
}

function note(...children) {
  return el("p", { class: "note" }, children);
}

/** A labelled choice; change(value) is called with the place in the list. */
function choice(label, texts, chosen, change) {
  const select = el("select", {}, texts.map((text, i) =>
    el("option", { value: i, selected: i === chosen }, plain(text, 32))));
  select.addEventListener("change", () => change(Number(select.value)));
  return el("label", { class: "choice" }, label + " ", select);
}
