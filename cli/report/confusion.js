// Classes: truth against prediction, over all rows or in a region.
function confusionTable(matrix, names) {
  const rows = matrix.map((row, truth) => {
    const all = row.reduce((a, b) => a + b, 0);
    return [name(names[truth], 16), ...row.map((count, label) => {
      const share = all > 0 ? count / all : 0;
      const cell = el("span", { class: label === truth ? "hit" : "miss", title: `${number(count, 5)} rows` },
        all > 0 ? percent(share, share >= 0.995 ? 3 : 2) : "–");
      cell.style.setProperty("--share", String(share));
      return cell;
    }), number(all, 5)];
  });
  const box = table([el("span", {}, "truth ↓ predicted →"), ...names.map(each => name(each, 12)), "#rows"], rows);
  box.classList.add("confusion");
  return box;
}

function confusionSection() {
  const of = data.confusion;
  if (!of) return;
  const node = section("confusion", "Confusion matrix by region");
  const holder = el("div");
  const names = ["all rows", ...of.matrices.slice(1).map((_, k) => `region ${k + 1}`)];
  const select = choice("rows of", names, 0, show);
  function show(which) {
    select.querySelector("select").value = String(which);
    holder.replaceChildren(confusionTable(of.matrices[which], of.classes));
    holder.dataset.matrix = String(which);
  }
  node.append(note("Shares of each true class. In a region rows count by the weight of its expert. A click on a region shows its matrix."),
    el("div", { class: "choices" }, select), holder);
  show(0);
  onPick(region => show(region !== null && region < of.matrices.length ? region : 0));
}
