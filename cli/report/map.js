// The regions over two inputs.
function mapRows(of) {
  const [a, b] = [of.x, of.y].map(input => data.inputs.findIndex(each => each.input === input));
  const xs = data.sample.inputs[a], ys = data.sample.inputs[b];
  const rows = [];
  xs.forEach((x, i) => {
    if (x === null || ys[i] === null) return;
    rows.push({ i, region: data.sample.region[i], x: spread(data.inputs[a], x, i), y: spread(data.inputs[b], ys[i], i + 7) });
  });
  return rows;
}

/** The map of a pair of inputs, whichever of the two is across. */
function findMap(x, y) {
  const same = data.maps.find(map => map.x === x && map.y === y);
  if (same) return same;
  const turned = data.maps.find(map => map.x === y && map.y === x);
  return turned && { ...turned, x, y, turned: true };
}

function mapCells(map, across, up) {
  const cells = [];
  const place = (input, part) => input.low + (input.high - input.low) * part / map.n;
  const [inner, outer] = map.turned ? [up, across] : [across, up];
  let cell = 0;
  for (let i = 0; i + 1 < map.cells.length; i += 2) {
    const row = Math.floor(cell / map.n), column = cell % map.n, run = map.cells[i + 1];
    const a = [place(inner, column), place(inner, column + run)], b = [place(outer, row), place(outer, row + 1)];
    const [x, y] = map.turned ? [b, a] : [a, b];
    cells.push({ region: map.cells[i], x1: x[0], x2: x[1], y1: y[0], y2: y[1] });
    cell += run;
  }
  return cells;
}

function mapBoundaries(map, across, up) {
  const out = [], at = (input, part) => input.low + (input.high - input.low) * part;
  for (let i = 0; i + 3 < map.boundaries.length; i += 4) {
    const [a, b, c, d] = map.boundaries.slice(i, i + 4);
    out.push(map.turned ? { x1: at(across, b), y1: at(up, a), x2: at(across, d), y2: at(up, c) }
      : { x1: at(across, a), y1: at(up, b), x2: at(across, c), y2: at(up, d) });
  }
  return out;
}

function rowTitle(row) {
  const lines = [`row ${data.sample.row[row.i]}`, `region ${row.region}, weight ${number(data.sample.gate[row.i], 3)}`];
  data.inputs.slice(0, 4).forEach((input, j) => {
    const value = data.sample.inputs[j][row.i];
    lines.push(`${plain(input.name)}: ${input.levels && value !== null ? plain(input.levels[value] ?? "other") : number(value)}`);
  });
  data.sample.targets.forEach((of, j) => {
    const text = value => value === null ? "–" : classes ? plain(data.model.targets[0].labels[value] ?? "") : number(value);
    lines.push(`${plain(targetNames[j])}: ${text(of.target[row.i])}, predicted ${text(of.prediction[row.i])}`);
  });
  return lines.join("\n");
}

function drawMap(width, map, across, up) {
  const rows = mapRows(map).filter(row => row.x >= across.low && row.x <= across.high && row.y >= up.low && row.y <= up.high);
  const cells = map.cells ? mapCells(map, across, up) : [];
  const { turn, room } = levelsBelow(across, width - 110);
  const plot = P.plot(plotOptions(width, Math.max(280, Math.min(560, width * 0.7)), {
    marginLeft: up.levels ? 90 : 52, marginBottom: room ?? 38,
    x: { ...inputAxis(across, { ticks: width / 90 }), tickRotate: turn ?? 0 }, y: inputAxis(up),
    marks: [
      P.rect(cells, { x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: d => colour(d.region), className: "cells" }),
      P.dot(rows, { x: "x", y: "y", fill: d => colour(d.region), r: rows.length > 1500 ? 1.6 : 2.6, className: "rows" }),
      map.boundaries ? P.link(mapBoundaries(map, across, up), { x1: "x1", y1: "y1", x2: "x2", y2: "y2",
        stroke: "currentColor", strokeWidth: 1.3, className: "boundary" }) : null,
      P.frame({ strokeOpacity: 0.3 }),
      P.tip(rows, P.pointer({ x: "x", y: "y", title: rowTitle, fill: "var(--tip)" }))
    ]
  }));
  tag(plot, "cells", i => cells[i].region);
  tag(plot, "rows", i => rows[i].region);
  return plot;
}

function mapSection() {
  if (data.curves) return curveSection();
  const node = section("map", "Map of the regions");
  if (data.inputs.length < 2) return node.append(note("The model has no two inputs to draw a map over."));
  const names = data.inputs.map(input => input.name);
  let across = 0, up = 1;
  const current = () => {
    const [x, y] = [data.inputs[across].input, data.inputs[up].input];
    return findMap(x, y) ?? { x, y };
  };
  let redraw = () => {};
  const said = note();
  const change = () => {
    said.textContent = (current().cells
      ? "Areas and lines: the region in charge when all other inputs stay at their training mean or most frequent level. "
      : "No areas for this pair: there is room for those of the inputs that tell most. ") +
      "Dots: rows, in the colour of their own region, so a dot may lie in an area of another.";
    redraw();
  };
  node.append(note("The inputs are ordered by how much they tell about the regions (share of variance between regions: ",
    data.inputs.slice(0, 3).map((input, i) => [i ? ", " : "", name(input.name, 20), " ", percent(input.telling, 2)]),
    data.model.inputs > data.inputs.length ? `; the first ${data.inputs.length} of ${data.model.inputs} are here` : "", ")."),
  el("div", { class: "choices" },
    choice("across", names, across, value => { across = value; change(); }),
    choice("up", names, up, value => { up = value; change(); })));
  redraw = figure(node, { title: "Regions and rows", picture: "map",
    draw: width => drawMap(width, current(), data.inputs[across], data.inputs[up]),
    rows: () => table(["region", "#row", "#" + plain(names[across]), "#" + plain(names[up])],
      mapRows(current()).slice(0, 100).map(row => ({ region: row.region, cells: [row.region, data.sample.row[row.i],
        number(row.x), number(row.y)] }))) });
  node.append(said);
  change();
}
