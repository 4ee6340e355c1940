// A figure: a plot that follows the width of the page, or without the plots of the build its table.
const figures = [];

/** Says which region each shape of a mark belongs to. Plot binds the place in the data to each shape. */
function tag(svg, className, regionOf) {
  for (const group of svg.querySelectorAll("." + className))
    for (const shape of group.children) {
      const bound = shape.__data__;
      const place = Array.isArray(bound) ? bound[0] : bound;
      const region = place === undefined ? undefined : regionOf(place);
      if (region) shape.setAttribute("data-region", region);
    }
}

/**
 * parent: where it goes. title: what it shows. draw(width): an SVG element. rows(): the same as a table (a
 * node), for readers of numbers and where there are no plots. Returns redraw().
 */
function figure(parent, { title, draw, rows, narrow = false, picture = null }) {
  const holder = el("div", { class: "plot" });
  const box = el("figure", { class: narrow ? "narrow" : null }, el("figcaption", {}, title), holder);
  parent.append(box);
  if (!P) {
    const template = picture && document.getElementById("picture-" + picture);
    if (template) holder.append(template.content.cloneNode(true));
    if (!rows) return () => {};
    const numbers = template ? details("Numbers", rows()) : el("div", { class: "short" }, rows());
    box.append(numbers);
    return () => {
      numbers.lastChild.replaceWith(rows());
      markPicked(numbers);
    };
  }
  let width = 0;
  const redraw = () => {
    width = Math.floor(holder.clientWidth);
    if (width < 80) return;
    const plot = draw(width);
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", title);
    holder.replaceChildren(plot);
    markPicked(holder);
  };
  figures.push({ holder, redraw, changed: () => Math.floor(holder.clientWidth) !== width });
  if (rows) {
    const numbers = details("Numbers");
    numbers.addEventListener("toggle", () => {
      if (numbers.open && numbers.childElementCount === 1) numbers.append(rows());
      markPicked(numbers);
    });
    box.append(numbers);
  }
  return () => {
    redraw();
    const numbers = box.querySelector("details");
    if (numbers && numbers.childElementCount > 1) {
      numbers.lastChild.remove();
      if (numbers.open) numbers.append(rows());
    }
  };
}

function drawAll() {
  for (const each of figures) each.redraw();
  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => figures.filter(each => each.changed()).forEach(each => each.redraw()), 120);
  });
}

/** Plot's options that all plots share. */
function plotOptions(width, height, more) {
  return { width, height, style: { background: "none", fontSize: "11px" }, marginLeft: 52, marginBottom: 38, ...more };
}

/** Scale and ticks of an input: levels of a category stand at 0, 1, 2, ... */
function inputAxis(input, { ticks = 6, most = 14 } = {}) {
  const scale = { domain: [input.low, input.high], label: plain(input.name, 30) };
  if (!input.levels)
    return { ...scale, ticks, ...(Math.max(Math.abs(input.low), Math.abs(input.high)) >= 1e5 ? { tickFormat: "~s" } : {}) };
  return { ...scale, ticks: input.levels.map((_, l) => l), tickFormat: l => plain(input.levels[l] ?? "", most) };
}

/** Room for the levels of a category below a plot: turned where they would run into each other. */
function levelsBelow(input, width, most = 14) {
  if (!input.levels) return {};
  const letters = input.levels.reduce((sum, level) => sum + Math.min(most, [...level].length) + 2, 0);
  return letters * 6.2 < width ? {} : { turn: -40, room: 30 + 4.2 * most };
}

/** "marital_st… = Widowed": what tells levels apart stays. */
function termLabel(term, most) {
  const at = term.indexOf(" = ");
  if (at < 0 || [...term].length <= most) return plain(term, most);
  const level = [...term.slice(at + 3)];
  const room = Math.max(4, most - 3 - Math.min(level.length, Math.floor(0.6 * most)));
  return plain(plain(term.slice(0, at), room).slice(1, -1) + " = " + level.join(""), most);
}

/** Rows of a category are spread around their level, always in the same way. */
function spread(input, value, row) {
  if (!input.levels || value === null) return value;
  const hash = Math.imul(row + 1, 2654435761) >>> 0;
  return value + 0.6 * (hash / 4294967296 - 0.5);
}
