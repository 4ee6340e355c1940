// How each expert's prediction moves with each input.
function regionSpan(input, region) {
  const values = data.sample.inputs[data.inputs.findIndex(each => each.input === input)]
    .filter((x, i) => x !== null && data.sample.region[i] === region).sort((a, b) => a - b);
  if (values.length < 3) return null;
  const at = level => values[Math.round(level * (values.length - 1))];
  return [at(0.05), at(0.95)];
}

function effectPoints(effect, of) {
  const input = data.inputs.find(each => each.input === effect.input);
  const all = of.regions.map((list, k) => list.map((y, i) => ({ region: k + 1, x: effect.x[i], y })));
  if (input.levels) return { input, weak: [], strong: [], dots: all.flat() };
  const strong = all.map((list, k) => {
    const span = regionSpan(effect.input, k + 1);
    return list.filter(p => span && p.x >= span[0] && p.x <= span[1]);
  });
  return { input, weak: all.flat(), strong: strong.flat(), dots: [] };
}

function drawEffect(width, effect, of) {
  const { input, weak, strong, dots } = effectPoints(effect, of);
  const regions = of.regions.length;
  const aside = d => d.x + (d.region - (regions + 1) / 2) * 0.5 / Math.max(regions, 3);
  // The scale is that of where rows are: an expert may go anywhere outside its region.
  const values = (strong.length ? strong : dots.length ? dots : weak).map(p => p.y).filter(v => v !== null);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const margin = 0.06 * (high - low || 1), inside = p => classes || (p.y >= low - margin && p.y <= high + margin);
  const lines = (points, className, options) => P.line(points.map(p => inside(p) ? p : { ...p, y: NaN }),
    { x: "x", y: "y", z: "region", stroke: d => colour(d.region), className, ...options });
  const { turn, room } = levelsBelow(input, width - 60, 12);
  const plot = P.plot(plotOptions(width, 210 + (room ? room - 38 : 0), {
    marginLeft: 46, marginBottom: room ?? 38, x: { ...inputAxis(input, { ticks: 4, most: 12 }), tickRotate: turn ?? 0 },
    y: { label: classes ? "probability" : plain(of.name, 24), domain: classes ? [0, 1] : [low - margin, high + margin], ticks: 5 },
    marks: [lines(weak, "weak", { strokeWidth: 1, strokeDasharray: "3 3" }), lines(strong, "strong", { strokeWidth: 2.5 }),
      P.dot(dots, { x: aside, y: "y", fill: d => colour(d.region), r: 4, className: "levels" })]
  }));
  tag(plot, "weak", i => weak[i].region);
  tag(plot, "strong", i => strong[i].region);
  tag(plot, "levels", i => dots[i].region);
  return plot;
}

function effectRows(effect, of) {
  const input = data.inputs.find(each => each.input === effect.input);
  const step = Math.ceil(effect.x.length / 12);
  return table([plain(input.name), ...of.regions.slice(0, kSideBySide).map((_, k) => `#${k + 1}`)],
    effect.x.map((x, i) => i).filter(i => i % step === 0).map(i => [input.levels ? name(input.levels[effect.x[i]], 18) : number(effect.x[i]),
      ...of.regions.slice(0, kSideBySide).map(list => number(list[i]))]));
}

function effectSection() {
  const node = section("effects", "Effect of each input, by region");
  if (!data.effects.length) return node.append(note("The model has no inputs."));
  node.append(note("What each expert predicts as one input changes and the others stay as is typical of its region. ",
    "Thick: where the region has its rows (5 to 95 %); dashed: beyond them. ",
    data.model.inputs > data.effects.length ? `The ${data.effects.length} inputs that tell most about the regions. ` : "",
    regionCount > regionsDrawn ? `The ${regionsDrawn} largest regions.` : ""));
  const outputs = data.effects[0].of.map(of => of.name);
  let output = 0;
  const redraws = [];
  if (outputs.length > 1)
    node.append(el("div", { class: "choices" }, choice(classes ? "class" : "target", outputs, 0, i => {
      output = i;
      redraws.forEach(redraw => redraw());
    })));
  const grid = el("div", { class: "grid" });
  node.append(grid);
  for (const effect of data.effects) {
    const input = data.inputs.find(each => each.input === effect.input);
    redraws.push(figure(grid, { title: plain(input.name, 30), draw: width => drawEffect(width, effect, effect.of[output]),
      rows: () => effectRows(effect, effect.of[output]) }));
  }
}
