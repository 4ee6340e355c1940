// A report in headless Chromium: every section is there, nothing goes wrong, nothing leaves the file, a click on
// a region highlights it in every plot, the map changes its inputs, on a phone and on a wide screen.
//
//   node browser.mjs MODULES CHROMIUM PAGE.html [--pictures DIR]
//
// MODULES: a folder with playwright-core in its node_modules. Closes with "N passed, N failed".
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modules, executablePath, ...rest] = process.argv.slice(2);
const asked = rest.indexOf("--pictures");
const pictures = asked < 0 ? null : rest.splice(asked, 2)[1];
const { chromium } = createRequire(path.resolve(modules) + "/")("playwright-core");

let passed = 0, failed = 0;
function check(holds, what) {
  if (holds) passed++;
  else {
    failed++;
    console.log("FAILED: " + what);
  }
}

const sections = ["fit", "partition", "map", "coefficients", "effects", "entropy", "utilisation", "calibration", "trace", "rows"];

/** How many shapes of each plot belong to the region, and whether the others step back. */
const plotsOf = region => [...document.querySelectorAll("figure")].map(figure => {
  const shapes = [...figure.querySelectorAll("svg [data-region]")];
  const own = shapes.filter(shape => Number(shape.dataset.region) === region);
  const opacity = shape => Number(getComputedStyle(shape).opacity);
  return { title: figure.querySelector("figcaption").textContent, shapes: shapes.length, own: own.length,
    lit: own.every(shape => opacity(shape) > 0.5),
    dimmed: shapes.filter(shape => Number(shape.dataset.region) !== region).every(shape => opacity(shape) < 0.5) };
});

async function clicks(page, label) {
  const several = await page.evaluate(() => JSON.parse(document.getElementById("data").textContent).region_count > 1);
  if (!several) return;
  const chips = page.locator("nav .chip");
  await chips.nth(1).click();
  await page.waitForTimeout(300);
  const plots = (await page.evaluate(plotsOf, 2)).filter(plot => plot.shapes > 0);
  check(plots.length >= 4, `${label}: only ${plots.length} plots know regions`);
  for (const plot of plots) {
    check(plot.own === 0 || plot.lit, `${label}: '${plot.title}' does not light region 2`);
    check(plot.dimmed, `${label}: '${plot.title}' does not dim the other regions`);
  }
  check(plots.filter(plot => plot.own > 0).length >= 4, `${label}: region 2 is in fewer than four plots`);
  check((await chips.nth(1).getAttribute("aria-pressed")) === "true", `${label}: the chip is not pressed`);
  const confusion = page.locator("#confusion [data-matrix]");
  if (await confusion.count()) check((await confusion.getAttribute("data-matrix")) === "2", `${label}: the confusion matrix stays`);
  await page.keyboard.press("Escape");
  check(!(await page.evaluate(() => document.body.classList.contains("picked"))), `${label}: Escape does not let go`);
  // A shape in a plot works like the chip.
  const shape = page.locator("#utilisation .bars [data-region='1']").first();
  await shape.dispatchEvent("click");
  check((await page.evaluate(() => document.body.dataset.picked)) === "1", `${label}: a click in a plot picks nothing`);
  await shape.dispatchEvent("click");
}

async function changesMap(page, label) {
  const across = page.locator("#map select").first();
  if (!(await across.count())) return;
  const inside = () => page.locator("#map figure svg").first().evaluate(svg => svg.outerHTML);
  const before = await inside();
  const options = await across.locator("option").count();
  await across.selectOption(String(options - 1));
  await page.waitForTimeout(100);
  check((await inside()) !== before, `${label}: the map keeps its inputs`);
  // Any two inputs: the pair that tells least has areas too.
  const up = page.locator("#map select").nth(1);
  check(options === (await page.evaluate(() => Math.min(40, JSON.parse(document.getElementById("data").textContent).model.inputs))),
    `${label}: the map offers ${options} inputs`);
  if (options > 2) {
    await up.selectOption(String(options - 2));
    await page.waitForTimeout(100);
    check((await page.locator("#map .cells rect").count()) > 0, `${label}: no areas for the pair that tells least`);
    await up.selectOption("1");
  }
  await across.selectOption("0");
}

async function boundaries(page, label) {
  const scores = await page.evaluate(() => JSON.parse(document.getElementById("data").textContent).gate.scores ?? null);
  const node = page.locator("#boundaries");
  check((await node.count() === 1) === (scores !== null), `${label}: boundaries`);
  if (!(await node.count())) return;
  const sum = () => page.locator("#boundaries .boundary-sum").innerText();
  const before = await sum();
  check(before.includes("meet where 0 ="), `${label}: no boundary: ${before}`);
  const [first, second] = [node.locator("select").first(), node.locator("select").nth(1)];
  const [a, b] = [await first.inputValue(), await second.inputValue()];
  await first.selectOption(b);
  check((await sum()).includes("two different"), `${label}: a region and itself have a boundary`);
  await second.selectOption(a);
  check((await sum()) !== before, `${label}: the boundary does not turn around`);
  // What is said is the difference of the scores.
  await node.locator("summary").click();
  const said = await node.locator("tbody tr").evaluateAll(rows => rows.map(row => Number(row.lastChild.textContent.replace("−", "-"))));
  const due = scores.terms.map((_, t) => scores.regions[b][t] - scores.regions[a][t]).filter(value => value !== 0);
  check(said.length === due.length && due.every(value => said.includes(value)), `${label}: coefficients of the boundary`);
}

async function visit(browser, file, width, scheme) {
  const label = `${path.basename(file)} at ${width} px, ${scheme}`;
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
  const page = await context.newPage();
  const url = pathToFileURL(path.resolve(file)).href;
  page.on("console", message => check(!["error", "warning"].includes(message.type()), `${label}: console: ${message.text()}`));
  page.on("pageerror", error => check(false, `${label}: ${error.message}`));
  page.on("dialog", dialog => { check(false, `${label}: a dialog opened`); dialog.dismiss(); });
  page.on("request", request => check(request.url() === url || request.url().startsWith("data:"), `${label}: asks for ${request.url()}`));
  const began = Date.now();
  await page.goto(url);
  await page.waitForSelector("body[data-ready]", { timeout: 20000 });
  const took = Date.now() - began;
  const busy = Number(process.env.REPORT_SECONDS ?? 10);  // what a busy machine may take
  check(took < 1000 * busy, `${label}: opened in ${took} ms`);
  const there = await page.evaluate(() => [...document.querySelectorAll("section")].map(section => section.id));
  for (const id of sections) check(there.includes(id), `${label}: lacks the section ${id}`);
  const classes = await page.evaluate(() => JSON.parse(document.getElementById("data").textContent).confusion !== null);
  check(there.includes("confusion") === classes, `${label}: confusion matrix`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(wide <= 0, `${label}: the page is ${wide} px wider than the screen`);
  check(await page.evaluate(() => [...document.querySelectorAll("figure .plot")].every(plot => plot.childElementCount > 0)), `${label}: an empty plot`);
  check((await page.evaluate(() => document.scripts.length)) === 3, `${label}: scripts beside those of the page`);
  await changesMap(page, label);
  await boundaries(page, label);
  await clicks(page, label);
  if (pictures) {
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: path.join(pictures, `${path.basename(file, ".html")}-${width}-${scheme}.png`), fullPage: true });
  }
  console.log(`${label}: opened in ${took} ms`);
  await context.close();
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
for (const file of rest) {
  await visit(browser, file, 1400, "light");
  await visit(browser, file, 380, "dark");
  if (pictures) {
    await visit(browser, file, 1400, "dark");
    await visit(browser, file, 380, "light");
  }
}
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
