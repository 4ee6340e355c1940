// Rows that a person should look at.
function lookTable(rows, extra) {
  const { ids } = data.look;
  const inputs = data.inputs.slice(0, 4);
  const cell = value => typeof value === "string" ? name(value, 18) : number(value);
  const heads = ["#row", ...(ids.length ? [name(ids.join(", "), 30)] : []), "region", "#weight"];
  for (const target of data.model.targets) heads.push(name(target.name, 18), "predicted", classes ? "#probability" : "#sd");
  heads.push(extra.head, ...inputs.map(input => name(input.name, 18)));
  return table(heads, rows.map(row => ({ region: row.region, cells: [row.row, ...(ids.length ? [name(row.id, 30)] : []),
    chip(row.region), percent(row.gate, 2), ...data.model.targets.flatMap((_, j) =>
      [cell(row.target[j]), cell(row.prediction[j]), number(row.sd[j], 3)]),
    extra.cell(row), ...row.inputs.map(cell)] })));
}

function rowsSection() {
  const node = section("rows", "Rows to look at");
  const density = { head: "#ln density", cell: row => number(row.log_density, 3) };
  const kinds = [
    ["outliers", "Outliers", classes ? "The true class had a probability under 0.001; least expected first." : "The target lies outside the central 99.9 % of its prediction; least expected first.", density],
    ["wrong", "Wrong and sure", "The predicted class is wrong; most probable first.", { ...density, head: "#ln probability" }],
    ["other_region", "Sure of a region, contradicted by the target", "The gate gives the region more than 0.9; now that the target is known it is responsible for less than 0.1 of the row.",
      { head: "#responsible", cell: row => chip(row.responsible) }],
    ["far", "Far from every region", "Inputs unlike those of training: how many times as far out as counts as outside (level never seen: –).",
      { head: "#times", cell: row => number(row.extrapolation, 3) }]
  ];
  for (const [key, title, text, extra] of kinds)
    if (data.look[key].length) node.append(el("h3", {}, title), note(text), lookTable(data.look[key], extra));
  if (!node.querySelector("table")) node.append(note("None: no outlier, no row far from every region, none that is wrong and sure."));
}
