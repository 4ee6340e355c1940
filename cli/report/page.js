// The page from top to bottom.
function headline() {
  const main = document.getElementById("report");
  main.replaceChildren();
  const { summary } = data;
  const sampled = data.sample.row.length < summary.rows
    ? `Plots of rows show a random sample of ${data.sample.row.length} of the ${summary.rows} rows; all figures are over all rows.` : null;
  add(main, el("header", { class: "top" }, el("h1", {}, data.model.targets.map((target, j) => [j ? ", " : "", name(target.name, 40)])),
    el("p", {}, `Mixture of ${summary.experts} expert${summary.experts > 1 ? "s" : ""}, ${summary.rows} rows`)),
  P ? null : el("p", { class: "missing" }, "This program was built without npm: pictures and tables stand in for the interactive plots."),
  sampled ? el("p", { class: "note", id: "sampled" }, sampled) : null);
  const chips = el("div", { class: "chips", role: "group", "aria-label": "Regions" }, data.regions.slice(0, regionsDrawn).map(r => chip(r.region)));
  main.append(el("nav", { class: "regions" }, el("span", {}, "Region"), chips));
}

headline();
fitSection();
partitionSection();
mapSection();
coefficientSection();
effectSection();
entropySection();
boundarySection();
utilisationSection();
routingSection();
treeSection();
calibrationSection();
confusionSection();
fittingSection();
rowsSection();
document.getElementById("report").append(el("footer", {}, `moekit ${data.model.version}`, P ? " · plots: Observable Plot (ISC)" : ""));
drawAll();
document.body.dataset.ready = "yes";
