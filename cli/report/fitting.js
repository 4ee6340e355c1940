// How the fit went: trace, starts, sizes that were tried.
function drawTrace(width, trace, values) {
  // Room for the labels: large sums that differ in their last digits are long.
  const decimals = Math.min(9, Math.max(0, Math.ceil(-Math.log10((values[1] - values[0]) / 5 || 1))));
  const longest = Math.max(...values.map(value => value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).length));
  return P.plot(plotOptions(width, Math.max(180, Math.min(280, width * 0.4)), {
    marginLeft: Math.max(52, 20 + 6.6 * longest), x: { label: "pass", ticks: Math.min(width / 90, trace.length - 1) }, y: { label: "log-likelihood", ticks: 5, domain: values },
    marks: [P.line(trace.filter(t => t.log_likelihood >= values[0]), { x: "pass", y: "log_likelihood", stroke: "var(--accent)", strokeWidth: 1.8 })]
  }));
}

function startRow(start) {
  const state = start.refused ? "refused" : start.finished ? "finished" : "short run";
  return [start.kind, number(start.log_likelihood, 8), state, start.iterations, percent(start.difference), name(start.reason, 60)];
}

function fittingSection() {
  const { model } = data;
  const node = section("trace", "How the fit went", note(
    `${data.summary.fit.status.replace("_", " ")} after ${model.iterations} passes; the best optimum was found by ${model.best_hits} of ` +
    `${model.finished} finished starts, ${model.starts_made} in all; seed ${model.seed}.` +
    (model.joint_trace ? " The likelihood is joint with that of the inputs: that is what this gate climbs." : "")));
  const trace = model.trace.filter(t => t.log_likelihood !== null);
  if (trace.length > 1) {
    // The first passes climb so far that they would hide the rest.
    const last = trace[trace.length - 1].log_likelihood, from = trace[Math.floor(trace.length * 0.02)].log_likelihood;
    const range = [Math.min(from, last), Math.max(...trace.map(t => t.log_likelihood))];
    figure(node, { title: "Log-likelihood by pass of the chosen start", draw: width => drawTrace(width, trace, range),
      rows: () => table(["#pass", "#log-likelihood"], trace.filter((_, i) => i % Math.ceil(trace.length / 25) === 0 || i + 1 === trace.length)
        .map(t => [t.pass, number(t.log_likelihood, 9)])) });
  }
  if (model.starts.length)
    node.append(el("h3", {}, "Starts"), table(["kind", "#log-likelihood", "", "#passes", "#rows placed differently", "reason"], model.starts.map(startRow)));
  if (model.growth.length)
    node.append(el("h3", {}, "Number of experts: sizes that were tried"), table(["#experts", "#held-out log-likelihood a row", "#standard error of its distance to the best"],
      model.growth.map(g => [g.experts, number(g.held_out, 5), number(g.standard_error, 2)])));
}
