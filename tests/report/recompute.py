#!/usr/bin/env python3
"""recompute.py MOEKIT MODEL DATA: does what `diagnose` says follow from what `predict` says?

Every figure of diagnose's files is computed again, in plain Python, from the table, the columns of `predict`
and the spread of the experts (experts.csv), and compared to 1e-9. Prints how many figures agree and what was
left out; exits with 1 where one differs. For one target and models of one member. Standard library only.
"""
import csv, gzip, json, math, os, re, subprocess, sys, tempfile
from collections import defaultdict

MISSING = {"", "NA", "NaN", "null", "?", "."}
TOLERANCE = 1e-9
NAN = float("nan")


class Ledger:
    """What was compared, and what differs."""

    def __init__(self):
        self.agree, self.differ, self.left_out, self.worst = defaultdict(int), [], [], 0.0

    def number(self, what, said, found, size=0.0):
        if said is None or said == "":
            said = NAN
        said, found = float(said), float(found)
        if math.isnan(said) and math.isnan(found):
            gap = 0.0
        else:
            gap = abs(said - found) / max(abs(found), size, 1e-300) if said != found else 0.0
        if not gap <= TOLERANCE:
            self.differ.append(f"{what}: {said!r}, and from the predictions {found!r}")
            return
        self.worst = max(self.worst, gap)
        self.agree[what.split(" ")[0]] += 1

    def equal(self, what, said, found):
        if said != found:
            self.differ.append(f"{what}: {said!r}, and from the predictions {found!r}")
        else:
            self.agree[what.split(" ")[0]] += 1

    def skip(self, what):
        self.left_out.append(what)


def read_csv(path):
    """Names and columns of texts."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        separator = max(",;\t|", key=first.count)
        file.seek(0)
        rows = [row for row in csv.reader(file, delimiter=separator) if row]
    names = [name.strip() for name in rows[0]]
    return {name: [row[j] for row in rows[1:]] for j, name in enumerate(names)}


def numbers(column):
    return [NAN if text.strip() in MISSING else float(text) for text in column]


def normal(z):
    return 0.5 * math.erfc(-z / math.sqrt(2))


def share(part, whole):
    return part / whole if whole > 0 else 0.0


def fsum(values):
    return math.fsum(values)


def quantile(values, weights, level):
    """Hazen's rule for weights: linear between the middles of the weights of the values in rising order, where
    rows of the same value share their weight evenly."""
    of = defaultdict(list)
    for value, weight in zip(values, weights):
        if weight > 0:
            of[value].append(weight)
    places, before = [], 0.0
    for value in sorted(of):
        total, half = fsum(of[value]), fsum(of[value]) / len(of[value]) / 2
        places += [(before + half, value), (before + total - half, value)]
        before += total
    at = level * before
    for (low, a), (high, b) in zip(places, places[1:]):
        if low <= at <= high and high > low:
            return a + (at - low) / (high - low) * (b - a)
    return places[0][1] if at < places[0][0] else places[-1][1]


class Case:
    def __init__(self, moekit, model, data, folder):
        self.ledger = Ledger()
        run = lambda *words: subprocess.run([moekit, *words], check=True, stdout=subprocess.PIPE, text=True).stdout
        self.model = json.loads(run("inspect", model, "--json"))
        columns = self.model["columns"]
        self.target, self.inputs = columns["target"], columns["inputs"]
        self.table = read_csv(data)
        self.labels = self.target.get("labels") or []
        self.classes = self.target["task"] == "classification"
        options = ["--regions", "--density"]
        if not self.classes:
            options += ["--components", "--interval", "0.9"]
        out = os.path.join(folder, "predict.csv")
        run("predict", model, data, "-q", "-o", out, *options)
        self.p = read_csv(out)
        self.dir = os.path.join(folder, "diagnosis")
        run("diagnose", model, data, "-q", "-o", self.dir)
        self.n = len(self.p["prediction"])
        self.gates = [name for name in self.p if name.startswith("gate_")]
        self.k = len(self.gates)
        self.gate = [numbers(self.p[name]) for name in self.gates]
        self.expert = [int(text) - 1 for text in self.p["expert"]]
        name = columns.get("weights")
        self.w = numbers(self.table[name]) if name else [1.0] * self.n
        self.all = fsum(self.w)
        self.density = numbers(self.p["log_density"])
        self.known = [not math.isnan(d) for d in self.density]
        self.inside = [[w * g for w, g in zip(self.w, gate)] for gate in self.gate]
        self.entropy = [-fsum(g * math.log(g) for g in row if g > 0) for row in zip(*self.gate)]
        ordered = [sorted(row, reverse=True) for row in zip(*self.gate)]
        self.boundary = [len(row) > 1 and row[1] >= 0.5 * row[0] for row in ordered]
        self.files = {name: read_csv(os.path.join(self.dir, name + ".csv"))
                      for name in ("partition", "experts", "regions", "rules", "gate", "coefficients")}
        self.summary = json.load(open(os.path.join(self.dir, "summary.json")))
        self.routing = json.load(open(os.path.join(self.dir, "routing.json")))
        page = open(os.path.join(self.dir, "report.html"), encoding="utf-8").read()
        self.page = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1))
        self.gaussian = self.model["family"] == "gaussian"
        if self.classes:
            order = {label: c for c, label in enumerate(self.labels)}
            texts = [text.strip() for text in self.table[self.target["name"]]]
            self.y = [order.get(t, order.get(number_text(t, order))) if k else None for t, k in zip(texts, self.known)]
            self.probability = [numbers(self.p["p_" + label]) for label in self.labels]
            self.said = [order[t] for t in self.p["prediction"]]
            self.cdf = None
        else:
            self.y = numbers(self.table[self.target["name"]])
            self.mean = numbers(self.p["prediction"])
            self.means = [numbers(self.p[f"mean_{j + 1}"]) for j in range(self.k)]
            self.noise = numbers(self.files["experts"]["noise"])
            varies = any(part == "noise" and term != "intercept" for part, term in
                         zip(self.files["coefficients"]["part"], self.files["coefficients"]["term"]))
            self.closed = self.gaussian and not varies
            self.components()

    def components(self):
        """Responsibilities, density and distribution function of mixtures of normal distributions."""
        self.cdf = self.responsibility = None
        if not self.closed:
            self.ledger.skip("responsibilities and distribution functions of another family, or noise that varies")
            return
        self.cdf, self.responsibility, self.log_density = [], [], []
        for i in range(self.n):
            z = [(self.y[i] - self.means[j][i]) / self.noise[j] for j in range(self.k)]
            logs = [math.log(self.gate[j][i]) - 0.5 * z[j] ** 2 - math.log(self.noise[j] * math.sqrt(2 * math.pi))
                    if self.gate[j][i] > 0 else -math.inf for j in range(self.k)]
            most = max(logs)
            parts = [math.exp(v - most) for v in logs]
            total = fsum(parts)
            self.responsibility.append([part / total for part in parts])
            self.log_density.append(most + math.log(total))
            self.cdf.append(fsum(self.gate[j][i] * normal(z[j]) for j in range(self.k)))

    # Each part below recomputes one file.

    def partition(self):
        led, said = self.ledger, self.files["partition"]
        led.equal("partition.csv expert", said["expert"], self.p["expert"])
        for name in self.gates:
            led.equal("partition.csv " + name, said[name], self.p[name])
        led.equal("partition.csv log_density", said["log_density"], self.p["log_density"])
        self.outlier = [False] * self.n
        for i in range(self.n):
            led.number(f"partition.csv entropy of row {i + 1}", said["gate_entropy"][i], self.entropy[i], 1e-3)
            led.equal(f"partition.csv boundary of row {i + 1}", said["boundary"][i], str(int(self.boundary[i])))
            if self.known[i] and self.classes:
                self.outlier[i] = math.exp(self.density[i]) < 0.001
            elif self.known[i] and self.cdf:
                self.outlier[i] = not 0.0005 <= self.cdf[i] <= 0.9995
            else:
                self.outlier[i] = said["outlier"][i] == "1"
            if self.known[i]:
                led.equal(f"partition.csv outlier of row {i + 1}", said["outlier"][i], str(int(self.outlier[i])))
        said_r = [numbers(said[f"responsibility_{j + 1}"]) for j in range(self.k)]
        if self.classes or not self.closed:
            self.responsibility = [list(row) for row in zip(*said_r)]
            for i in range(self.n):
                if self.known[i]:
                    led.number(f"partition.csv responsibilities of row {i + 1}", fsum(self.responsibility[i]), 1)
            return
        for i in range(self.n):
            if not self.known[i]:
                continue
            led.number(f"partition.csv density of row {i + 1}", said["log_density"][i], self.log_density[i], 1)
            for j in range(self.k):
                led.number(f"partition.csv responsibility_{j + 1} of row {i + 1}", said_r[j][i], self.responsibility[i][j], 1)

    def experts(self):
        led, said = self.ledger, self.files["experts"]
        self.shares = [fsum(part) / self.all for part in self.inside]
        self.won = [fsum(w for w, e in zip(self.w, self.expert) if e == j) / self.all for j in range(self.k)]
        self.rows = [fsum(w * (r[j] if known else w_g) if known else w_g for w, r, known, w_g in
                          zip(self.w, self.responsibility, self.known, self.inside[j])) for j in range(self.k)]
        self.error = []
        for j in range(self.k):
            led.number(f"experts.csv share {j + 1}", said["share"][j], self.shares[j], 1e-6)
            led.number(f"experts.csv effective_rows {j + 1}", said["effective_rows"][j], self.rows[j], 1e-3)
            led.number(f"experts.csv rows_won {j + 1}", said["rows_won"][j], self.won[j])
            inside = [w for w, known in zip(self.inside[j], self.known) if known]
            total = fsum(inside)
            if self.classes:
                y = [c for c, known in zip(self.y, self.known) if known]
                wrong = [p != c for p, c, known in zip(self.said, self.y, self.known) if known]
                for c, label in enumerate(self.labels):
                    led.number(f"experts.csv share_{label} {j + 1}", said["share_" + label][j],
                               share(fsum(w for w, v in zip(inside, y) if v == c), total), 1e-3)
                self.error.append(share(fsum(w for w, bad in zip(inside, wrong) if bad), total))
                led.number(f"experts.csv error_rate {j + 1}", said["error_rate"][j], self.error[j], 1e-3)
                continue
            y = [v for v, known in zip(self.y, self.known) if known]
            gap = [(v - m) ** 2 for v, m, known in zip(self.y, self.mean, self.known) if known]
            mean = share(fsum(w * v for w, v in zip(inside, y)), total)
            sd = math.sqrt(share(fsum(w * (v - mean) ** 2 for w, v in zip(inside, y)), total))
            size = self.target["sd"] or 1.0
            self.error.append(math.sqrt(share(fsum(w * g for w, g in zip(inside, gap)), total)))
            led.number(f"experts.csv target_mean {j + 1}", said["target_mean"][j], mean, size)
            led.number(f"experts.csv target_sd {j + 1}", said["target_sd"][j], sd, size)
            led.number(f"experts.csv rmse {j + 1}", said["rmse"][j], self.error[j], 1e-3 * size)

    def regions(self):
        led, said = self.ledger, self.files["regions"]
        at = {(r, c, l): i for i, (r, c, l) in enumerate(zip(said["region"], said["column"], said["level"]))}
        inside_all = [fsum(part) for part in self.inside]
        used = 0
        for column in self.inputs:
            texts = [text.strip() for text in self.table[column["name"]]]
            if column["kind"] == "numeric":
                x = numbers(texts)
                there = [i for i in range(self.n) if not math.isnan(x[i])]
                used += self.numeric(column["name"], x, there, said, at, inside_all)
                continue
            order = {level: l for l, level in enumerate(column["levels"])}
            code = [order.get(t, order.get(number_text(t, order))) for t in texts]
            for l, level in enumerate(column["levels"]):
                with_level = [fsum(w for w, c in zip(part, code) if c == l) for part in self.inside]
                overall = fsum(with_level) / fsum(inside_all)
                spread = math.sqrt(overall * (1 - overall))
                for j in range(self.k):
                    i = at[(str(j + 1), column["name"], level)]
                    used += 1
                    mean = share(with_level[j], inside_all[j])
                    missing = fsum(w for w, c in zip(self.inside[j], code) if c is None)
                    rest = fsum(inside_all) - inside_all[j]
                    name = f"regions.csv {column['name']}={level} of {j + 1}"
                    led.number(name + " mean", said["mean"][i], mean, 1e-3)
                    led.number(name + " missing", said["missing"][i], share(missing, inside_all[j]), 1e-3)
                    if spread > 0 and self.k > 1 and inside_all[j] > 0 and rest > 1e-12 * self.all:
                        off = (mean - (fsum(with_level) - with_level[j]) / rest) / spread
                        led.number(name + " difference", said["difference"][i], off, 1)
        led.equal("regions.csv lines", len(said["region"]), used)

    def numeric(self, name, x, there, said, at, inside_all):
        led = self.ledger
        w = [[part[i] for i in there] for part in self.inside]
        x = [x[i] for i in there]
        total, whole = [fsum(part) for part in w], fsum(fsum(part) for part in w)
        sums = [fsum(a * v for a, v in zip(part, x)) for part in w]
        mean = fsum(sums) / whole
        spread = math.sqrt(fsum(fsum(a * (v - mean) ** 2 for a, v in zip(part, x)) for part in w) / whole)
        size = spread or 1.0
        for j in range(self.k):
            i = at[(str(j + 1), name, "")]
            label = f"regions.csv {name} of {j + 1}"
            if total[j] <= 0:
                continue
            own = sums[j] / total[j]
            sd = math.sqrt(fsum(a * (v - own) ** 2 for a, v in zip(w[j], x)) / total[j])
            led.number(label + " mean", said["mean"][i], own, size)
            led.number(label + " sd", said["sd"][i], sd, size)
            missing = inside_all[j] - total[j] if len(x) < self.n else 0.0
            led.number(label + " missing", said["missing"][i], share(missing, inside_all[j]), 1e-3)
            if spread > 0 and self.k > 1 and whole - total[j] > 1e-9 * whole:
                rest = (fsum(sums) - sums[j]) / (whole - total[j])
                led.number(label + " difference", said["difference"][i], (own - rest) / spread, 1)
            if self.n > 20000 or 8_000_000 // (len(self.inputs) + self.k) < self.n:
                continue  # of a sample
            for column, level in (("q05", 0.05), ("q25", 0.25), ("q50", 0.5), ("q75", 0.75), ("q95", 0.95)):
                led.number(f"{label} {column}", said[column][i], quantile(x, w[j], level), size)
        return self.k

    def interval_90(self):
        """Is the target inside the central 90 %, by predict's columns lower and upper?"""
        low, high = numbers(self.p["lower"]), numbers(self.p["upper"])
        return [a <= v <= b for a, v, b in zip(low, self.y, high)]

    def metrics(self):
        led, said = self.ledger, self.summary["metrics"]
        rows = [i for i in range(self.n) if self.known[i] and self.w[i] > 0]
        total = fsum(self.w[i] for i in rows)
        mean = lambda value: fsum(self.w[i] * value(i) for i in rows) / total
        led.number("metrics n", said["n"], len(rows))
        led.number("metrics nll", said["nll"], -mean(lambda i: self.density[i]), 1)
        if self.classes:
            top = lambda i: self.probability[self.said[i]][i]
            led.number("metrics accuracy", said["accuracy"], mean(lambda i: self.said[i] == self.y[i]))
            led.number("metrics brier", said["brier"], mean(
                lambda i: fsum((self.probability[c][i] - (c == self.y[i])) ** 2 for c in range(len(self.labels)))))
            led.number("metrics ece", said["ece"], self.reliability(rows, self.w)["ece"], 1e-3)
            if len(self.labels) == 2:
                led.number("metrics auc", said["auc"], self.auc(rows))
            return
        gap = [self.y[i] - self.mean[i] for i in range(self.n)]
        centre = mean(lambda i: self.y[i])
        led.number("metrics rmse", said["rmse"], math.sqrt(mean(lambda i: gap[i] ** 2)))
        led.number("metrics mae", said["mae"], mean(lambda i: abs(gap[i])))
        led.number("metrics r2", said["r2"], 1 - mean(lambda i: gap[i] ** 2) / mean(lambda i: (self.y[i] - centre) ** 2), 1)
        inside = self.interval_90()
        led.number("metrics coverage_90", said["coverage_90"], mean(lambda i: inside[i]))
        led.number("calibration coverage_90", self.summary["calibration"]["coverage_90"], mean(lambda i: inside[i]))
        if self.closed:
            led.number("metrics crps", said["crps"], mean(self.crps))

    def auc(self, rows):
        ordered = sorted(rows, key=lambda i: self.probability[1][i])
        won = positive = negative = 0.0
        for begin in range(len(ordered)):
            if begin and self.probability[1][ordered[begin]] == self.probability[1][ordered[begin - 1]]:
                continue
            end, tied = begin, [0.0, 0.0]
            while end < len(ordered) and self.probability[1][ordered[end]] == self.probability[1][ordered[begin]]:
                tied[self.y[ordered[end]]] += self.w[ordered[end]]
                end += 1
            won += tied[1] * (negative + tied[0] / 2)
            positive, negative = positive + tied[1], negative + tied[0]
        return won / positive / negative

    def crps(self, i):
        """Grimit et al. 2006, the double sum."""
        def absolute(m, s):
            z = abs(m) / s
            return s * (2 * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)) + abs(m) * math.erf(z / math.sqrt(2))
        some = [(self.gate[j][i], self.means[j][i], self.noise[j]) for j in range(self.k) if self.gate[j][i] > 0]
        error = fsum(w * absolute(self.y[i] - m, s) for w, m, s in some)
        spread = fsum(w * v * absolute(m - l, math.hypot(s, t)) for w, m, s in some for v, l, t in some)
        return error - spread / 2

    def reliability(self, rows, weight):
        """15 bins of the top probability."""
        bins = [[0.0, 0.0, 0.0] for _ in range(15)]
        for i in rows:
            top = self.probability[self.said[i]][i]
            entry = bins[min(14, int(top * 15))]
            entry[0] += weight[i]
            entry[1] += weight[i] * top
            entry[2] += weight[i] * (self.said[i] == self.y[i])
        total = fsum(b[0] for b in bins)
        return {"ece": share(fsum(abs(b[2] - b[1]) for b in bins), total), "accuracy": share(fsum(b[2] for b in bins), total),
                "confidence": share(fsum(b[1] for b in bins), total), "bins": [b for b in bins if b[0] > 0]}

    def overview(self):
        led, said = self.ledger, self.summary
        led.number("summary.json rows", said["rows"], self.n)
        led.number("summary.json experts", said["experts"], self.k)
        for j, entry in enumerate(said["utilisation"]):
            led.number(f"summary.json share {j + 1}", entry["share"], self.shares[j], 1e-6)
            led.number(f"summary.json effective_rows {j + 1}", entry["effective_rows"], self.rows[j], 1e-3)
            led.number(f"summary.json rows_won {j + 1}", entry["rows_won"], self.won[j])
        k = self.k
        led.number("summary.json cv_squared", said["load_balance"]["cv_squared"], fsum((k * s - 1) ** 2 for s in self.shares) / k, 1e-3)
        led.number("summary.json max_over_mean", said["load_balance"]["max_over_mean"], k * max(self.shares))
        mean = lambda values: fsum(w * v for w, v in zip(self.w, values)) / self.all
        led.number("summary.json gate_entropy", said["gate_entropy"], mean(self.entropy), 1e-3)
        led.number("summary.json gate_entropy_max", said["gate_entropy_max"], math.log(k), 1)
        led.number("summary.json boundary_share", said["boundary_share"], mean(self.boundary))
        known = fsum(w for w, k_ in zip(self.w, self.known) if k_)
        led.number("summary.json outlier_share", said["outlier_share"], fsum(w for w, o in zip(self.w, self.outlier) if o) / known)
        led.equal("summary.json dead_experts", said["dead_experts"], [j + 1 for j in range(k) if self.shares[j] < 1 / (100 * k)])

    def routes(self):
        led, said = self.ledger, self.routing
        routed = bool(self.model.get("top_k"))
        led.equal("routing.json rows", said["rows"], self.n)
        picked = lambda i, j: self.gate[j][i] > 0 if routed else self.expert[i] == j
        counts = [sum(picked(i, j) for i in range(self.n)) for j in range(self.k)]
        slots = sum(counts)
        led.equal("routing.json counts", said["counts"], counts)
        for j in range(self.k):
            led.number(f"routing.json utilisation {j + 1}", said["utilisation"][j], self.k * counts[j] / slots)
            weight = fsum(self.gate[j]) if routed else counts[j]
            led.number(f"routing.json importance {j + 1}", said["importance"][j], weight / self.n, 1e-6)
            if not routed:
                led.number(f"routing.json mean_probability {j + 1}", said["mean_probability"][j], fsum(self.gate[j]) / self.n, 1e-6)
        led.number("routing.json load_entropy", said["load_entropy"], -fsum(c / slots * math.log(c / slots) for c in counts if c), 1e-3)
        mean = slots / self.k
        led.number("routing.json cv_squared", said["load_balance"]["cv_squared"], fsum((c / mean - 1) ** 2 for c in counts) / self.k, 1e-3)
        led.number("routing.json max_over_mean", said["load_balance"]["max_over_mean"], max(counts) / mean)
        first = said["first_expert"]
        led.equal("routing.json dead_experts", said["dead_experts"], [j + first for j in range(self.k) if self.k * counts[j] / slots < 0.01])
        if said["together"] is not None:
            rows = [[j for j in range(self.k) if picked(i, j)] for i in range(self.n)]
            both = [[0] * self.k for _ in range(self.k)]
            for row in rows:
                for a in row:
                    for b in row:
                        both[a][b] += 1
            led.equal("routing.json together", said["together"], both)

    def rules(self):
        """Rules are read as text and applied to the table."""
        led, said = self.ledger, self.files["rules"]
        if self.n > 20000 or 8_000_000 // (len(self.inputs) + 4) < self.n:
            return led.skip("rules, which come from a sample of so many rows")
        of = {column["name"]: column for column in self.inputs}
        for j, text in enumerate(said["rule"]):
            if text == "nowhere":
                continue
            satisfied = [True] * self.n
            if text != "everywhere":
                for part in split_rule(text):
                    holds = condition(part, of, self.table, self.n)
                    satisfied = [a and b for a, b in zip(satisfied, holds)]
            mine = fsum(w for w, e in zip(self.w, self.expert) if e == j)
            both = fsum(w for w, e, s in zip(self.w, self.expert, satisfied) if e == j and s)
            passed = fsum(w for w, s in zip(self.w, satisfied) if s)
            led.number(f"rules.csv coverage {j + 1}", said["coverage"][j], share(both, mine))
            led.number(f"rules.csv precision {j + 1}", said["precision"][j], share(both, passed))
            led.number(f"rules.csv lift {j + 1}", said["lift"][j], share(share(both, passed), mine / self.all))

    def terms(self, i, lines):
        """sum of coefficient x term in row i; lines: (term, coefficient)."""
        return fsum(value * self.term(term, i) for term, value in lines)

    def term(self, text, i):
        """Value of one term in row i; None when it is of another kind (curves, powers)."""
        if text == "intercept":
            return 1.0
        if text in self.table:
            x = self.table[text][i].strip()
            return float(x) if x not in MISSING else self.means_of[text]
        if text.endswith(" is missing") and text[:-11] in self.table:
            return float(self.table[text[:-11]][i].strip() in MISSING)
        for name in self.table:
            if text.startswith(name + " = "):
                cell, level = self.table[name][i].strip(), text[len(name) + 3:]
                return float(cell == level or number_text(cell, {level: 0}) == level)
        raise KeyError(text)

    def boundaries(self):
        """ln gate_a - ln gate_b is the sum of gate.csv, and the experts' means that of coefficients.csv."""
        led, said = self.ledger, self.files["gate"]
        self.means_of = {c["name"]: c.get("mean") for c in self.inputs}
        lines = defaultdict(list)
        for a, b, term, value in zip(said["region"], said["other"], said["term"], said["coefficient"]):
            lines[(int(a) - 1, int(b) - 1)].append((term, float(value)))
        step = max(1, self.n // 200)
        try:
            for (a, b), terms in lines.items():
                for i in range(0, self.n, step):
                    if min(self.gate[a][i], self.gate[b][i]) < 1e-250 or self.model.get("top_k"):
                        continue
                    size = max(1.0, fsum(abs(value * self.term(term, i)) for term, value in terms))
                    led.number(f"gate.csv {a + 1} against {b + 1}, row {i + 1}", self.terms(i, terms),
                               math.log(self.gate[a][i]) - math.log(self.gate[b][i]), size)
            if not lines:
                led.skip("boundaries: this gate has none in gate.csv")
        except KeyError as term:
            led.skip(f"boundaries with the term {term}")
        if self.classes:
            return
        own = defaultdict(list)
        c = self.files["coefficients"]
        for part, expert, term, value in zip(c["part"], c["expert"], c["term"], c["estimate"]):
            if part == "expert":
                own[int(expert) - 1].append((term, float(value)))
        if not self.gaussian or not own:
            return led.skip("means of experts from their coefficients: another family, or networks")
        try:
            for j, terms in own.items():
                for i in range(0, self.n, step):
                    size = max(1.0, fsum(abs(value * self.term(term, i)) for term, value in terms))
                    led.number(f"coefficients.csv mean of {j + 1}, row {i + 1}", self.terms(i, terms), self.means[j][i], size)
        except KeyError as term:
            led.skip(f"means of experts with the term {term}")

    def report(self):
        led, page = self.ledger, self.page
        led.equal("report summary", page["summary"], self.summary)
        for entry in page["regions"]:
            j = entry["region"] - 1
            led.number(f"report share {j + 1}", entry["share"], self.shares[j], 1e-6)
            led.number(f"report rows_won {j + 1}", entry["rows_won"], self.won[j])
            led.number(f"report error {j + 1}", entry["targets"][0]["error"], self.error[j], 1e-3)
        histogram, most = [0.0] * 20, math.log(self.k)
        at = [min(19, int(e / most * 20)) if most > 0 and e > 0 else 0 for e in self.entropy]
        for w, b in zip(self.w, at):
            histogram[b] += w / self.all
        for b in range(20):
            led.number(f"report entropy bin {b}", page["entropy"]["histogram"][b], histogram[b], 1e-3)
        for j, entry in enumerate(page["entropy"]["regions"]):
            total = fsum(self.inside[j])
            led.number(f"report entropy {j + 1}", entry["entropy"], share(fsum(w * e for w, e in zip(self.inside[j], self.entropy)), total), 1e-3)
            led.number(f"report boundary {j + 1}", entry["boundary"], share(fsum(w for w, b in zip(self.inside[j], self.boundary) if b), total), 1e-3)
        meeting = defaultdict(float)
        for i in range(self.n):
            if self.boundary[i]:
                second = max((j for j in range(self.k) if j != self.expert[i]), key=lambda j: (self.gate[j][i], -j))
                meeting[tuple(sorted((self.expert[i] + 1, second + 1)))] += self.w[i] / self.all
        for entry in page["entropy"]["meeting"]:
            led.number(f"report meeting {entry['regions']}", entry["share"], meeting[tuple(entry["regions"])])
        self.calibration()
        sample = page["sample"]
        for place, row in enumerate(sample["row"]):
            led.equal(f"report region of row {row}", sample["region"][place], self.expert[row - 1] + 1)
            six = lambda value: float("%.6g" % value)
            led.number(f"report gate of row {row}", sample["gate"][place], six(max(g[row - 1] for g in self.gate)))

    def calibration(self):
        led, said = self.ledger, self.page["calibration"]
        rows = [i for i in range(self.n) if self.known[i]]
        if self.classes:
            def compare(name, entry, weight):
                found = self.reliability(rows, weight)
                for key in ("accuracy", "confidence", "ece"):
                    led.number(f"report {name} {key}", entry[key], found[key], 1e-3)
                return found["bins"]
            bins = compare("calibration", said["classes"], self.w)
            for b, entry in zip(bins, said["classes"]["bins"]):
                led.number("report bin weight", entry["weight"], b[0])
                led.number("report bin confidence", entry["confidence"], b[1] / b[0])
                led.number("report bin accuracy", entry["accuracy"], b[2] / b[0], 1e-3)
            for j, entry in enumerate(said["classes"]["regions"]):
                compare(f"calibration of {j + 1}", entry, self.inside[j])
            self.confusion(rows)
            return
        inside, of = self.interval_90(), said["targets"][0]
        for j, entry in enumerate(of["regions"]):
            total = fsum(self.inside[j][i] for i in rows)
            if total > 0:
                led.number(f"report coverage of {j + 1}", entry["coverage_90"], fsum(self.inside[j][i] for i in rows if inside[i]) / total, 1e-3)
        if not self.cdf:
            return
        total, pit = fsum(self.w[i] for i in rows), [0.0] * 20
        for i in rows:
            pit[min(19, int(self.cdf[i] * 20))] += self.w[i] / total
        for b in range(20):
            led.number(f"report PIT bin {b}", of["pit"][b], pit[b], 1e-3)
        if self.model.get("conformal"):
            return led.skip("coverage by level of a calibrated model")
        for level, covered in zip(of["levels"], of["coverage"]):
            found = fsum(self.w[i] for i in rows if abs(2 * self.cdf[i] - 1) <= level) / total
            led.number(f"report coverage at {level}", covered, found, 1e-3)

    def confusion(self, rows):
        said = self.page["confusion"]
        if len(self.labels) > 12:
            return self.ledger.skip("confusion matrices of more than 12 classes")
        for m, matrix in enumerate(said["matrices"]):
            weight = self.w if m == 0 else self.inside[m - 1]
            found = [[0.0] * len(self.labels) for _ in self.labels]
            for i in rows:
                found[self.y[i]][self.said[i]] += weight[i]
            for a, line in enumerate(found):
                for b, value in enumerate(line):
                    self.ledger.number(f"report confusion {m} {a} {b}", matrix[a][b], value, 1e-3)


def number_text(text, order):
    """The level that is the same number written in another way."""
    try:
        value = float(text)
    except ValueError:
        return text
    for level in order:
        try:
            if float(level) == value:
                return level
        except ValueError:
            pass
    return text


def split_rule(text):
    """Conditions of a rule: `and` between them, none inside braces or parentheses. A rule that would look like
    a formula stands in parentheses as a whole."""
    if re.match(r"\([=+@-]", text) and text.endswith(")") and not text.endswith(" or missing)"):
        depths = [text[: at + 1].count("(") - text[: at + 1].count(")") for at in range(len(text))]
        if min(depths[:-1]) > 0:
            text = text[1:-1]
    parts, depth, begin = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "{(") - (letter in "})")
        if depth == 0 and text.startswith(" and ", at):
            parts.append(text[begin:at])
            begin = at + 5
    return parts + [text[begin:]]


def condition(text, of, table, n):
    missing = False
    if text.startswith("(") and text.endswith(" or missing)"):
        text, missing = text[1:-12], True
    cells_of = lambda column: [cell.strip() for cell in table[column]]
    between = re.fullmatch(r"(\S+) < (.+) <= (\S+)", text)
    if between and between.group(2) in of:
        low, high = float(between.group(1)), float(between.group(3))
        return [missing if math.isnan(v) else low < v <= high for v in numbers(cells_of(between.group(2)))]
    name = max((c for c in of if text.startswith(c + " ")), key=len)
    rest, cells = text[len(name) + 1:], cells_of(name)
    if of[name]["kind"] == "numeric":
        sign, bound = rest.split(" ")
        bound, x = float(bound), numbers(cells)
        return [missing if math.isnan(v) else v > bound if sign == ">" else v <= bound for v in x]
    levels = {level: 0 for level in of[name]["levels"]}
    names, negative = rest[rest.index("{") + 1:-1].split(", "), rest.startswith("not in")
    out = []
    for cell in cells:
        level = cell if cell in levels else number_text(cell, levels)
        out.append(missing if level not in levels else (level in names) != negative)
    return out


def main():
    moekit, model, data = sys.argv[1:4]
    with tempfile.TemporaryDirectory() as folder:
        case = Case(os.path.abspath(moekit), model, data, folder)
        for part in (case.partition, case.experts, case.regions, case.metrics, case.overview, case.routes, case.rules,
                     case.boundaries, case.report):
            part()
    led = case.ledger
    print(f"{os.path.basename(model)}: {case.n} rows, {case.k} experts; figures that agree: " +
          ", ".join(f"{name} {count}" for name, count in sorted(led.agree.items())) +
          f"; largest relative difference {led.worst:.1e}")
    for text in led.left_out:
        print("  left out: " + text)
    for text in led.differ[:20]:
        print("  DIFFERS " + text)
    if led.differ:
        sys.exit(f"recompute.py: {len(led.differ)} figures differ")


if __name__ == "__main__":
    main()
