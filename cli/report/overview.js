// What was fitted, how well, and the regions one by one.
function section(id, title, ...lead) {
  const node = el("section", { id }, el("h2", {}, title), lead);
  document.getElementById("report").append(node);
  return node;
}

const classes = data.model.targets[0].task === "classification";
const targetNames = data.model.targets.map(target => target.name);

function fact(label, value, hint) {
  return el("div", { class: "fact" }, el("dt", {}, label), el("dd", {}, value), hint ? el("small", {}, hint) : null);
}

function metricFacts(metrics) {
  const named = { nll: classes ? "mean −ln probability" : "mean −ln density", rmse: "RMSE", mae: "MAE", r2: "R²", coverage_90: "inside the 90 % interval",
    crps: "CRPS", nll_grid: "nll of grid cells", accuracy: "accuracy", auc: "AUC", auc_error: "AUC, largest error", brier: "Brier", ece: "calibration error" };
  return Object.entries(named).filter(([key]) => typeof metrics[key] === "number")
    .map(([key, label]) => fact(label, /accuracy|coverage/.test(key) ? percent(metrics[key]) : number(metrics[key])));
}

function fitSection() {
  const { summary, model } = data, fit = summary.fit;
  const gain = fit.log_likelihood - fit.log_likelihood_one_expert;
  const node = section("fit", "What was fitted, and how well");
  const parts = [fact("rows here", number(summary.rows, 9)), fact("rows of training", number(model.rows, 9)),
    fact("inputs", model.inputs), fact("experts", summary.experts, `${model.family}, ${model.gate} gate`)];
  node.append(el("dl", { class: "facts" }, parts));
  if (model.members > 1)
    node.append(note(`An ensemble of ${model.members} members, which disagree by ${number(summary.ensemble.spread)} ` +
      "on average. The partition shown here is that of the first, the fit to all rows."));
  node.append(el("h3", {}, "Training: beside a single expert"), table(
    ["", "#log-likelihood", "#AIC", "#BIC", "#parameters"],
    [[`${summary.experts} expert${summary.experts > 1 ? "s" : ""}`, number(fit.log_likelihood, 7), number(fit.aic, 7),
      number(fit.bic, 7), `${number(fit.parameters)} (effective ${number(fit.effective_parameters)})`],
    ["1 expert, same options", number(fit.log_likelihood_one_expert, 7), "", "", ""]]));
  if (regionCount > 1)
    node.append(note(`On the training rows the mixture is ${number(Math.abs(gain))} units of log-likelihood ` +
      `${gain < 0 ? "worse" : "better"} than one expert, ${number(Math.abs(gain) / model.rows, 3)} a row. ` +
      "moekit cv compares them on rows held out."));
  if (summary.metrics) {
    node.append(el("h3", {}, "On the rows of this report"));
    const metrics = summary.metrics;
    if (metrics.targets) {
      node.append(note(`Mean −ln density of all targets together: ${number(metrics.nll)}.`));
      for (const [target, of] of Object.entries(metrics.targets))
        node.append(el("h4", {}, name(target)), el("dl", { class: "facts" }, metricFacts(of)));
    } else node.append(el("dl", { class: "facts" }, metricFacts(metrics)));
  } else node.append(note("The data have no target, so nothing here says how good the predictions are."));
  if (model.notes.length) node.append(details("Notes of the fit", el("ul", {}, model.notes.map(text => el("li", {}, text)))));
  if (model.options.length)
    node.append(details("Options of the fit", table(["option", "value"], model.options.map(([key, value]) => [key, name(value, 60)]))));
}

/** "education 16 (12 to 20)", "sex = Male 83 %". */
function typicalItem(item) {
  const direction = item.difference > 0 ? "▲" : "▼";
  const strength = el("small", { title: "difference from the other regions, in standard deviations" },
    ` ${direction} ${number(Math.abs(item.difference), 2)} sd`);
  if (item.level !== undefined)
    return el("li", {}, name(item.column, 20), " = ", name(item.level, 20), " ", el("b", {}, percent(item.mean, 2)), strength);
  return el("li", {}, name(item.column, 24), " ", el("b", {}, number(item.q50, 3)),
    ` (${number(item.q05, 3)} to ${number(item.q95, 3)})`, strength);
}

function regionFigures(region, index) {
  if (!(region.share > 0)) return [note("No row has any weight here.")];
  const lines = [];
  region.targets.forEach((of, j) => {
    const title = region.targets.length > 1 ? [name(of.target, 20), ": "] : null;
    const parts = [];
    if (of.mean !== undefined) parts.push(`mean ${number(of.mean)}, sd ${number(of.sd)}`);
    if (of.noise !== undefined) parts.push(`noise of the expert ${number(of.noise)}`);
    if (of.degrees_of_freedom !== undefined) parts.push(`${number(of.degrees_of_freedom)} degrees of freedom`);
    if (of.coefficient_of_variation !== undefined)
      parts.push(`coefficient of variation of the expert ${number(of.coefficient_of_variation)}`);
    if (of.dispersion !== undefined) parts.push(`dispersion of the expert ${number(of.dispersion)}`);
    if (of.error !== undefined) parts.push(classes ? `error rate ${percent(of.error)}` : `RMSE here ${number(of.error)}`);
    const inside = data.calibration.targets?.[j]?.regions[index]?.coverage_90;
    if (inside !== undefined) parts.push(`90 % interval holds ${percent(inside)}`);
    lines.push(el("p", {}, title, parts.join(" · ")));
  });
  if (region.class_shares) {
    const labels = data.model.targets[0].labels;
    const order = region.class_shares.map((share, c) => [share, c]).sort((a, b) => b[0] - a[0]).slice(0, 4);
    lines.push(el("p", {}, "classes: ", order.filter(([share]) => share > 0.005).map(([share, c], i) =>
      [i ? ", " : "", name(labels[c], 18), " ", percent(share, 2)])));
  }
  return lines;
}

function ruleOf(region) {
  if (!region.rule) return null;
  return el("p", { class: "rule" }, name(region.rule.text, 200), el("small", {},
    ` – ${percent(region.rule.coverage, 2)} of the region's rows; ${percent(region.rule.precision, 2)} of the rows it names are the region's`));
}

function card(region, index) {
  const bar = el("div", { class: "bar" }, el("span"));
  bar.firstChild.style.width = `${100 * region.share / Math.max(...data.regions.map(r => r.share))}%`;
  const equations = (data.experts[index] ?? []).map(line =>
    el("p", { class: "equation" }, name(line.left, 60), " = ", name(line.right, 400)));
  const box = el("article", { class: "card", "data-region": region.region },
    el("header", {}, chip(region.region), el("b", {}, percent(region.share)),
      el("small", {}, ` ${number(region.effective_rows)} rows${region.dead ? " · idle" : ""}`)),
    bar, ruleOf(region), regionFigures(region, index));
  if (region.typical.length) add(box, el("h4", {}, "Typical there"), el("ul", {}, region.typical.map(typicalItem)));
  else if (regionCount > 1 && region.share > 0) add(box, note("The inputs look as in the other regions."));
  if (equations.length) add(box, el("h4", {}, "How the expert predicts"), equations);
  box.style.setProperty("--region", colour(region.region));
  return box;
}

function partitionSection() {
  const node = section("partition", "The partition",
    note("A region is where an expert has weight; what is said of it weighs rows by that weight. ",
      "Typical: median (5 to 95 %) or share, and the difference from the other regions."));
  const { rules } = data.summary;
  if (data.regions.some(region => region.rule))
    node.append(note(`The rules come from a shallow tree that names the region of ${percent(rules.fidelity)} of the rows rightly` +
      (rules.fidelity < 0.9 ? ": the regions are no boxes, take the rules as hints." : ".")));
  const shown = data.regions.slice(0, 24);
  node.append(el("div", { class: "cards" }, shown.map(card)));
  if (data.regions.length <= shown.length) return;
  node.append(el("h3", {}, "The other regions"), table(["region", "#share", "#rows", "#error", "typical"],
    data.regions.slice(shown.length).map(r => ({ region: r.region, cells: [chip(r.region), percent(r.share),
      number(r.effective_rows), number(r.targets[0].error), el("ul", { class: "flat" }, r.typical.slice(0, 2).map(typicalItem))] }))));
  if (regionCount > data.regions.length)
    node.append(note(`... and ${regionCount - data.regions.length} more in regions.csv.`));
}
