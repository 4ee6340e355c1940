// Coefficients of all experts side by side.
const kTermsDrawn = 16, kSideBySide = 10;

function formsOf(part) {
  const rows = data.coefficients.rows.filter(row => row.part === part);
  const outputs = [...new Set(rows.map(row => row.output))];
  return { rows, outputs };
}

/** The error on the standardised scale: the factor between the scales is that of the estimates. */
function standardisedError(row) {
  if (row.standard_error === null || !row.estimate) return null;
  return Math.abs(row.standard_error * row.standardised / row.estimate);
}

function termsOf(rows) {
  const weight = new Map();
  for (const row of rows)
    if (row.term !== "intercept") weight.set(row.term, Math.max(weight.get(row.term) ?? 0, Math.abs(row.standardised)));
  return [...weight].sort((a, b) => b[1] - a[1]).map(([term]) => term);
}

function drawCoefficients(width, rows) {
  const terms = termsOf(rows).slice(0, kTermsDrawn);
  const experts = [...new Set(rows.map(row => row.expert))].filter(k => k <= kSideBySide);
  const points = rows.filter(row => terms.includes(row.term) && experts.includes(row.expert)).map(row => {
    const error = standardisedError(row);
    const y = terms.indexOf(row.term) + (experts.indexOf(row.expert) - (experts.length - 1) / 2) * 0.78 / experts.length;
    return { ...row, region: row.expert, y, low: error === null ? NaN : row.standardised - 1.96 * error,
      high: error === null ? NaN : row.standardised + 1.96 * error };
  });
  // Wide intervals do not hide everything else.
  const reach = 1.4 * Math.max(1e-9, ...points.map(p => Math.abs(p.standardised)));
  const clipped = value => Math.max(-reach, Math.min(reach, value));
  const intervals = points.filter(p => Number.isFinite(p.low)).map(p => ({ ...p, low: clipped(p.low), high: clipped(p.high) }));
  const plot = P.plot(plotOptions(width, 60 + terms.length * Math.max(24, 9 * experts.length), {
    marginLeft: Math.min(160, width * 0.36),
    x: { label: "standardised coefficient", grid: true, ticks: width / 90 },
    y: { domain: [terms.length - 0.5, -0.5], label: null, ticks: terms.map((_, i) => i), tickFormat: i => termLabel(terms[i], width < 500 ? 17 : 23), tickSize: 0 },
    marks: [P.ruleX([0], { strokeOpacity: 0.5 }),
      P.ruleY(terms.slice(1).map((_, i) => i + 0.5), { strokeOpacity: 0.12 }),
      P.link(intervals, { x1: "low", x2: "high", y1: "y", y2: "y", stroke: d => colour(d.region), strokeWidth: 2, className: "intervals" }),
      P.dot(points, { x: "standardised", y: "y", fill: d => colour(d.region), r: 3.5, className: "points" }),
      P.tip(points, P.pointer({ x: "standardised", y: "y", fill: "var(--tip)", title: d =>
        `${plain(d.term, 40)}, expert ${d.expert}\n${number(d.estimate)}${d.standard_error === null ? "" : " ± " + number(d.standard_error, 2) + " (standard error)"}` }))]
  }));
  tag(plot, "intervals", i => intervals[i].region);
  tag(plot, "points", i => points[i].region);
  return plot;
}

function coefficientTable(rows) {
  const experts = [...new Set(rows.map(row => row.expert))].filter(k => k <= kSideBySide);
  const terms = ["intercept", ...termsOf(rows)].slice(0, 100);
  const cell = (term, expert) => {
    const row = rows.find(each => each.term === term && each.expert === expert);
    if (!row) return "";
    return el("span", { "data-region": expert }, number(row.estimate),
      row.standard_error === null ? null : el("small", {}, " ± " + number(row.standard_error, 2)));
  };
  return table(["term", ...experts.map(k => "#" + k)], terms.map(term => [name(term, 30), ...experts.map(k => cell(term, k))]));
}

function coefficientFigure(node, part, title) {
  const { rows, outputs } = formsOf(part);
  if (!rows.some(row => row.term !== "intercept")) return;
  let output = outputs[0];
  const shown = () => rows.filter(row => row.output === output);
  let redraw = () => {};
  const box = el("div");
  node.append(box);
  if (outputs.length > 1)
    box.append(el("div", { class: "choices" }, choice(classes ? "class" : "target", outputs, 0, i => { output = outputs[i]; redraw(); })));
  redraw = figure(box, { title, draw: width => drawCoefficients(width, shown()), rows: () => coefficientTable(shown()) });
}

function coefficientSection() {
  const node = section("coefficients", "Coefficients side by side");
  node.append(note("On standardised inputs and target, so that lengths compare; bars: 95 % intervals where the model has standard errors. ",
    "Numbers: units of the data, ± standard error. ",
    regionCount > kSideBySide ? `The ${kSideBySide} largest experts. ` : "",
    data.coefficients.all > data.coefficients.rows.length
      ? `The ${data.coefficients.rows.length} that matter most of ${data.coefficients.all}; all are in coefficients.csv.` : ""));
  coefficientFigure(node, "expert", classes ? "Experts: log odds against the last class" : "Experts");
  coefficientFigure(node, "noise", "Logarithm of the experts' noise");
  coefficientFigure(node, "gate", `Gate: score against expert ${regionCount}`);
  if (!node.querySelector("figure")) node.append(note("No slopes to show: the experts are constants, or networks."));
}
