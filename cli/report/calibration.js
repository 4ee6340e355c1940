// Are the stated probabilities right?
function levelPoints(of) {
  return of.levels.map((level, i) => ({ level, coverage: of.coverage[i] }));
}

function drawReliability(width, points, labels, radius = () => 3) {
  return P.plot(plotOptions(width, Math.max(200, Math.min(300, width * 0.75)), {
    x: { domain: [0, 1], label: labels[0], ticks: 5 }, y: { domain: [0, 1], label: labels[1], ticks: 5 },
    marks: [P.link([0], { x1: 0, y1: 0, x2: 1, y2: 1, strokeDasharray: "4 3", strokeOpacity: 0.6 }),
      P.line(points, { x: "x", y: "y", stroke: "var(--accent)", strokeWidth: 1.5 }),
      P.dot(points, { x: "x", y: "y", r: radius, fill: "var(--accent)", fillOpacity: 0.8 })]
  }));
}

function drawRegionShares(width, points, truth, label) {
  const shown = points.slice(0, regionsDrawn).filter(p => p.value !== null && p.known !== false);
  const low = Math.min(...shown.map(p => p.value), ...truth) - 0.03;
  const plot = P.plot(plotOptions(width, 50 + 20 * shown.length, {
    marginLeft: 34, x: { label, domain: [Math.max(0, low), 1], tickFormat: "%", ticks: 5, grid: true },
    y: { type: "point", domain: shown.map(p => p.region), label: null, tickSize: 0 },
    marks: [P.ruleX(truth, { strokeDasharray: "4 3" }), P.dot(shown, { x: "value", y: "region", r: 5, fill: d => colour(d.region), className: "points" })]
  }));
  tag(plot, "points", i => shown[i].region);
  return plot;
}

function predictedPoints(j) {
  const of = data.sample.targets[j];
  return of.target.map((y, i) => ({ i, region: data.sample.region[i], x: of.prediction[i], y }))
    .filter(p => p.x !== null && p.y !== null).slice(0, 2500);
}

function drawPredicted(width, j) {
  const points = predictedPoints(j);
  const low = points.reduce((a, p) => Math.min(a, p.x), Infinity), high = points.reduce((a, p) => Math.max(a, p.x), -Infinity);
  const plot = P.plot(plotOptions(width, Math.max(220, Math.min(380, width * 0.6)), {
    x: { label: "predicted", ticks: 6 }, y: { label: plain(targetNames[j], 30) },
    marks: [P.dot(points, { x: "x", y: "y", fill: d => colour(d.region), r: points.length > 1200 ? 1.6 : 2.4, className: "rows" }),
      P.link([0], { x1: low, y1: low, x2: high, y2: high, strokeDasharray: "4 3" }),
      P.tip(points, P.pointer({ x: "x", y: "y", title: rowTitle, fill: "var(--tip)" }))]
  }));
  tag(plot, "rows", i => points[i].region);
  return plot;
}

function targetCalibration(node, of, j) {
  if (data.calibration.targets.length > 1) node.append(el("h3", {}, name(of.target, 40)));
  const grid = el("div", { class: "grid three" });
  node.append(grid);
  const bins = histogram(of.pit, 0, 1);
  figure(grid, { title: "Where the target falls in its prediction (PIT); flat is right", picture: j ? null : "calibration",
    draw: width => drawHistogram(width, bins, "probability of a smaller value", [P.ruleY([1 / of.pit.length], { strokeDasharray: "4 3" })]),
    rows: () => histogramRows(bins) });
  const points = levelPoints(of).map(p => ({ x: p.level, y: p.coverage }));
  figure(grid, { title: "Central intervals: stated and true coverage", draw: width => drawReliability(width, points, ["stated", "true"]),
    rows: () => table(["#stated", "#true"], points.map(p => [percent(p.x), percent(p.y)])) });
  const regions = of.regions.map((each, k) => ({ region: k + 1, value: each.coverage_90 }));
  figure(grid, { title: "Coverage of the 90 % interval by region", draw: width => drawRegionShares(width, regions, [0.9], "rows inside"),
    rows: () => barRows(regions.slice(0, 256), "inside") });
  figure(node, { title: "Predicted and observed", draw: width => drawPredicted(width, j) ,
    rows: () => table(["region", "#row", "#predicted", "#observed"], predictedPoints(j).slice(0, 100).map(p =>
      ({ region: p.region, cells: [p.region, data.sample.row[p.i], number(p.x), number(p.y)] }))) });
}

function calibrationSection() {
  const node = section("calibration", "Calibration");
  const of = data.calibration;
  of.targets.forEach((each, j) => targetCalibration(node, each, j));
  if (data.model.calibration_rows)
    node.append(note(`Intervals are calibrated by ${data.model.calibration_rows} rows kept out of the fit (conformal).`));
  if (of.classes) {
    node.append(note(`Calibration error (15 bins of the top probability): ${percent(of.classes.ece)}.`));
    const grid = el("div", { class: "grid two" });
    node.append(grid);
    const most = Math.max(...of.classes.bins.map(bin => bin.weight));
    const points = of.classes.bins.map(bin => ({ x: bin.confidence, y: bin.accuracy, weight: bin.weight }));
    figure(grid, { title: "Reliability of the top probability", picture: "calibration",
      draw: width => drawReliability(width, points, ["probability of the predicted class", "share right"], d => 2 + 8 * Math.sqrt(d.weight / most)),
      rows: () => table(["#probability", "#right", "#rows"], points.map(p => [percent(p.x), percent(p.y), number(p.weight, 6)])) });
    const regions = of.classes.regions.map((each, k) => ({ region: k + 1, value: each.accuracy, ...each }));
    figure(grid, { title: "Accuracy by region", draw: width => drawRegionShares(width, regions, [of.classes.accuracy], "rows right"),
      rows: () => table(["region", "#accuracy", "#mean top probability", "#calibration error"], regions.slice(0, 256).map(each =>
        ({ region: each.region, cells: [each.region, percent(each.accuracy), percent(each.confidence), percent(each.ece)] }))) });
  }
  if (!of.targets.length && !of.classes) node.append(note("The data have no target: nothing to compare with."));
}
