// A model of one input along it.
function curvePoints(lists, more = () => ({})) {
  return lists.flatMap((list, k) => list.map((y, i) => ({ region: k + 1, x: data.curves.x[i], y, ...more(k, i) })));
}

function sampleDots(values) {
  const input = data.inputs[0];
  return data.sample.inputs[0].map((x, i) => ({ i, region: data.sample.region[i], x: spread(input, x, i), y: values[i] }))
    .filter(row => row.x !== null && row.y !== null && row.x >= input.low && row.x <= input.high);
}

function drawTarget(width, of, j) {
  const input = data.inputs[0], dots = sampleDots(data.sample.targets[j].target);
  const band = data.curves.x.map((x, i) => ({ x, low: of.low[i], high: of.high[i], mean: of.mean[i] }));
  const values = [...dots.map(d => d.y), ...of.low, ...of.high].filter(v => v !== null);
  const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
  const experts = curvePoints(of.experts, (k, i) => ({ strong: data.curves.gate[k][i] >= 0.3 }))
    .map(p => p.y < low || p.y > high ? { ...p, y: NaN } : p);
  const strong = experts.map(p => p.strong ? p : { ...p, y: NaN });
  const lines = (points, className, options) => P.line(points, { x: "x", y: "y", z: "region",
    stroke: d => colour(d.region), className, ...options });
  const plot = P.plot(plotOptions(width, Math.max(260, Math.min(440, width * 0.55)), {
    x: inputAxis(input, { ticks: width / 90 }), y: { label: plain(of.target, 30), domain: [low, high], nice: true },
    marks: [
      P.areaY(band, { x: "x", y1: "low", y2: "high", fill: "currentColor", fillOpacity: 0.1 }),
      P.dot(dots, { x: "x", y: "y", fill: d => colour(d.region), r: dots.length > 1500 ? 1.6 : 2.8, className: "rows" }),
      lines(experts, "weak", { strokeWidth: 1, strokeDasharray: "4 3" }),
      lines(strong, "strong", { strokeWidth: 3 }),
      P.line(band, { x: "x", y: "mean", stroke: "currentColor", strokeWidth: 1.5 }),
      P.tip(dots, P.pointer({ x: "x", y: "y", title: rowTitle, fill: "var(--tip)" }))
    ]
  }));
  tag(plot, "rows", i => dots[i].region);
  tag(plot, "weak", i => experts[i].region);
  tag(plot, "strong", i => strong[i].region);
  return plot;
}

function drawLines(width, points, label, height = 0.32) {
  const plot = P.plot(plotOptions(width, Math.max(180, width * height), {
    x: inputAxis(data.inputs[0], { ticks: width / 90 }), y: { label, domain: [0, 1] },
    marks: [P.ruleY([0]), P.line(points, { x: "x", y: "y", z: "region", stroke: d => colour(d.region), strokeWidth: 2, className: "lines" })]
  }));
  tag(plot, "lines", i => points[i].region);
  return plot;
}

function curveRows(lists, heads) {
  const step = Math.ceil(data.curves.x.length / 25);
  return table(["#" + plain(data.inputs[0].name), ...heads.map(head => "#" + head)],
    data.curves.x.map((x, i) => i).filter(i => i % step === 0)
      .map(i => [number(data.curves.x[i]), ...lists.map(list => number(list[i], 3))]));
}

function curveSection() {
  const node = section("map", "The regions along the input");
  const experts = data.curves.gate.map((_, k) => `expert ${k + 1}`);
  for (const [j, of] of (data.curves.targets ?? []).entries()) {
    figure(node, { title: `Experts, mixture and rows: ${plain(of.target)}`, picture: j ? `curves_${j + 1}` : "curves",
      draw: width => drawTarget(width, of, j),
      rows: () => curveRows([of.mean, of.low, of.high, ...of.experts], ["mean", "5 %", "95 %", ...experts]) });
  }
  if (data.curves.targets)
    node.append(note("Plain line: mean of the mixture; band: its central 90 %. Colour: experts, thick where their weight is at least 0.3. Dots: rows."));
  figure(node, { title: "Weights of the gate", draw: width => drawLines(width, curvePoints(data.curves.gate), "weight"),
    rows: () => curveRows(data.curves.gate, experts) });
  if (!data.curves.classes) return;
  for (const of of data.curves.classes)
    figure(node, { title: `Probability of ${plain(of.label)}`, narrow: true,
      draw: width => P.plot(plotOptions(width, 160, { x: inputAxis(data.inputs[0]), y: { label: "probability", domain: [0, 1] },
        marks: [P.line(of.probability.map((y, i) => ({ x: data.curves.x[i], y })), { x: "x", y: "y" })] })),
      rows: () => curveRows([of.probability], ["probability"]) });
}
