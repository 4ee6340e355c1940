// The gate: how sure it is, where regions meet, how evenly experts are used; of a tree the tree.
function histogram(shares, low, high) {
  const step = (high - low) / shares.length;
  return shares.map((share, b) => ({ x1: low + b * step, x2: low + (b + 1) * step, share }));
}

function drawHistogram(width, bins, label, marks = []) {
  return P.plot(plotOptions(width, Math.max(180, Math.min(280, width * 0.5)), {
    x: { label, ticks: 5 }, y: { label: "share of rows", tickFormat: "%", ticks: 5 },
    marks: [P.rectY(bins, { x1: "x1", x2: "x2", y: "share", fill: "var(--accent)", insetLeft: 0.5, insetRight: 0.5 }), P.ruleY([0]), ...marks]
  }));
}

function histogramRows(bins) {
  return table(["#from", "#to", "#share of rows"], bins.map(b => [number(b.x1, 3), number(b.x2, 3), percent(b.share)]));
}

/** One bar a region. */
function drawBars(width, bars, options, marks = []) {
  const plot = P.plot(plotOptions(width, 50 + 22 * bars.length, {
    marginLeft: 34, y: { type: "band", domain: bars.map(b => b.region), label: null, tickSize: 0 }, x: { label: null, ...options },
    marks: [P.barX(bars, { x: "value", y: "region", fill: d => colour(d.region), className: "bars" }), P.ruleX([0]), ...marks]
  }));
  tag(plot, "bars", i => bars[i].region);
  return plot;
}

function barRows(bars, head) {
  return table(["region", "#" + head], bars.map(b => ({ region: b.region, cells: [b.region, percent(b.value)] })));
}

function entropySection() {
  const { entropy, summary } = data;
  const node = section("entropy", "How sure the gate is", note(
    `Entropy of the gate weights: ${number(summary.gate_entropy)} nats on average, ${number(summary.gate_entropy_max)} if all experts ` +
    `counted the same everywhere. ${percent(summary.boundary_share)} of the rows lie at a boundary: the second weight is at least half the first.`));
  if (regionCount < 2) return;
  const grid = el("div", { class: "grid two" });
  node.append(grid);
  const bins = histogram(entropy.histogram, 0, entropy.most);
  figure(grid, { title: "Entropy of the gate weights, all rows", draw: width => drawHistogram(width, bins, "nats"), rows: () => histogramRows(bins) });
  const bars = entropy.regions.slice(0, regionsDrawn).map((of, k) => ({ region: k + 1, value: of.boundary }));
  figure(grid, { title: "Boundary rows, share of each region", draw: width => drawBars(width, bars, { tickFormat: "%", ticks: 5 }), rows: () => barRows(bars, "boundary") });
  if (entropy.meeting.length)
    node.append(details("Which regions meet", table(["regions", "#boundary rows, share of all"],
      entropy.meeting.map(pair => [pair.regions.map(chip), percent(pair.share)]))));
}

/** ln of the weight of one region over that of another, term by term: where the sum is 0 they meet. */
function boundaryTerms(a, b) {
  const { terms, regions } = data.gate.scores;
  const reach = term => {
    const input = data.inputs.find(each => each.name === term && !each.levels);
    return term === "intercept" ? Infinity : input ? input.high - input.low : 1;
  };
  return terms.map((term, t) => ({ term, value: regions[a - 1][t] - regions[b - 1][t], reach: reach(term) }))
    .filter(each => each.value !== 0).sort((x, y) => Math.abs(y.value) * y.reach - Math.abs(x.value) * x.reach || 0);
}

function boundaryText(terms) {
  const most = 8, parts = [];
  for (const { term, value } of terms.slice(0, most)) {
    const size = number(Math.abs(value), 4), sign = value < 0 ? "−" : "+";
    parts.push(el("span", { class: "term" }, parts.length ? ` ${sign} ` : value < 0 ? "−" : "", size,
      term === "intercept" ? null : [" · ", name(term, 32)]));
  }
  return [parts, terms.length > most ? ` + ${terms.length - most} more terms` : null];
}

/** One term alone can be solved: the place where two regions meet. */
function meetingPlace(terms) {
  const own = terms.filter(each => each.term !== "intercept");
  if (own.length !== 1) return null;
  const at = -(terms.find(each => each.term === "intercept")?.value ?? 0) / own[0].value;
  return el("p", { class: "note" }, "That is at ", name(own[0].term, 40), ` = ${number(at, 6)}.`);
}

function boundarySection() {
  const { scores } = data.gate;
  if (!scores || regionCount < 2) return;
  const node = section("boundaries", "The boundary between two regions", note(
    "The gate weighs two regions alike where this sum, in the units of the data, is 0; above 0 the first has more weight. " +
    "Inputs named “a = b” count 1 where that holds, else 0."));
  const names = data.regions.map(r => `region ${r.region}`), first = data.entropy.meeting[0]?.regions ?? [1, 2];
  let [a, b] = first;
  const shown = el("div", { class: "boundary-sum", "aria-live": "polite" });
  const change = () => {
    const terms = a === b ? [] : boundaryTerms(a, b);
    shown.replaceChildren();
    if (a === b) return add(shown, note("Choose two different regions."));
    add(shown, el("p", { class: "equation" }, chip(a), " and ", chip(b), " meet where 0 = ", boundaryText(terms)), meetingPlace(terms),
      details("All terms", table(["term", "#coefficient"], terms.map(each => [name(each.term, 60), String(each.value).replace("-", "−")]))));
  };
  node.append(el("div", { class: "choices" }, choice("first", names, a - 1, value => { a = value + 1; change(); }),
    choice("second", names, b - 1, value => { b = value + 1; change(); })), shown);
  change();
}

function utilisationSection() {
  const { summary } = data, balance = summary.load_balance;
  const dead = summary.dead_experts;
  const node = section("utilisation", "How evenly the experts are used", note(
    `Squared coefficient of variation of the shares ${number(balance.cv_squared)} (0: all the same); the largest share is ` +
    `${number(balance.max_over_mean)} times the mean. `, dead.length
      ? `${dead.length} idle expert${dead.length > 1 ? "s" : ""} (share under 1/${100 * regionCount}): ${dead.slice(0, 40).join(", ")}${dead.length > 40 ? ", ..." : ""}.`
      : "No expert is idle."));
  const bars = summary.utilisation.slice(0, regionsDrawn).map(of => ({ region: of.expert, value: of.share, won: of.rows_won }));
  figure(node, { title: "Share of the weight (bar), share of rows won (line), even share (dashed)", picture: "shares",
    draw: width => {
      return drawBars(width, bars, { tickFormat: "%", ticks: width / 90 }, [
        P.ruleX([1 / regionCount], { strokeDasharray: "4 3" }),
        P.tickX(bars, { x: "won", y: "region", strokeWidth: 2.5 })]);
    },
    rows: () => table(["region", "#share", "#rows won", "#effective rows"], summary.utilisation.slice(0, 256).map(of =>
      ({ region: of.expert, cells: [of.expert, percent(of.share), percent(of.rows_won), number(of.effective_rows, 5)] }))) });
}

/** Where rows do not go to every expert; routing.json has it expert by expert. */
function routingSection() {
  const { routing, experts } = data.summary;
  if (routing.picks < 2 && experts === regionCount) return;
  const node = section("routing", "Routing", note("Each row is answered by a few experts only. Load: how many rows an expert works on. routing.json of moekit diagnose has the figures of every expert."));
  const facts = [fact("picks a row, at most", routing.picks), fact("load, squared coefficient of variation", number(routing.load_cv_squared)),
    fact("largest load over the mean", number(routing.max_over_mean)), fact("entropy of the load", number(routing.load_entropy)),
    fact("dead experts", routing.dead)];
  if (routing.label_entropy > 0)
    facts.push(fact("mutual information of experts and classes", number(routing.mutual_information), `of ${number(routing.label_entropy)} nats`));
  node.append(el("dl", { class: "facts" }, facts));
}

function treeNode(experts) {
  if (experts.length === 1) return el("li", { class: "leaf" }, chip(experts[0]), " ", percent(data.summary.utilisation[experts[0] - 1].share));
  const key = [...experts].sort((a, b) => a - b).join(" ");
  const of = data.gate.nodes.find(each => [...each.left, ...each.right].sort((a, b) => a - b).join(" ") === key);
  if (!of) return el("li", {}, experts.map(chip));
  return el("li", {}, el("span", { class: "split" }, `node ${of.node}: `, name(of.rule, 160)),
    el("ul", {}, treeNode(of.left), treeNode(of.right)));
}

function treeSection() {
  const { nodes, words } = data.gate;
  if (!nodes.length) {
    if (words) section("tree", "The gate in words", el("pre", { dir: "auto" }, words));
    return;
  }
  const root = nodes.reduce((a, b) => a.left.length + a.right.length >= b.left.length + b.right.length ? a : b);
  section("tree", "The tree of the gate", note("Each node sends a row left (first) or right with a probability; where the rule holds it is above one half."),
    el("ul", { class: "tree" }, treeNode([...root.left, ...root.right])));
}
