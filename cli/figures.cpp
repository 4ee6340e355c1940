#include "figures.hpp"

#include <algorithm>
#include <cmath>

#include "svg.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

constexpr double kWidth = 640, kHeight = 420, kLeft = 62, kRight = 16, kTop = 34, kBottom = 52;
const char* const kInk = "currentColor";

double number(const Json& value) { return value.is_number() ? value.get<double>() : std::nan(""); }

std::vector<double> numbers(const Json& list) {
  std::vector<double> out;
  for (const Json& value : list) out.push_back(number(value));
  return out;
}

std::string label(const Json& name, std::size_t width = 44) {
  return shorten(name.get<std::string>(), width);
}

/// A frame with two axes.
struct Panel {
  Svg svg;
  SvgScale x, y;

  Panel(const std::string& title, SvgScale across, SvgScale up)
      : svg(kWidth, kHeight, title), x(across), y(up) {
    x.from = kLeft, x.to = kWidth - kRight;
    y.from = kHeight - kBottom, y.to = kTop;
    svg.text(kLeft, 20, title, "start", 14);
  }
  void tick_x(double value, const std::string& name) {
    svg.segments({x.at(value), y.from, x.at(value), y.from + 5}, {.stroke = kInk});
    svg.text(x.at(value), y.from + 18, name, "middle", 11);
  }
  void tick_y(double value, const std::string& name) {
    svg.segments({x.from - 5, y.at(value), x.from, y.at(value)}, {.stroke = kInk});
    svg.text(x.from - 8, y.at(value) + 4, name, "end", 11);
  }
  void axes(const std::string& across, const std::string& up) {
    for (const double t : x.ticks(7)) tick_x(t, brief(t));
    for (const double t : y.ticks(6)) tick_y(t, brief(t));
    frame(across, up);
  }
  void frame(const std::string& across, const std::string& up) {
    svg.segments({x.from, y.from, x.to, y.from, x.from, y.from, x.from, y.to}, {.stroke = kInk});
    svg.text((x.from + x.to) / 2, kHeight - 12, across, "middle", 12);
    svg.text(16, (y.from + y.to) / 2, up, "middle", 12, -90);
  }
  /// Points inside the frame only.
  bool inside(double a, double b) const { return a >= x.low && a <= x.high && b >= y.low && b <= y.high; }
  /// A line through the points that are inside; it breaks where it leaves.
  void line(const std::vector<double>& across, const std::vector<double>& up, const Svg::Paint& paint) {
    std::vector<double> points;
    for (std::size_t i = 0; i <= across.size(); ++i) {
      if (i < across.size() && inside(across[i], up[i])) {
        points.insert(points.end(), {x.at(across[i]), y.at(up[i])});
        continue;
      }
      if (points.size() > 2) svg.path(points, paint);
      points.clear();
    }
  }
};

const Json* input_of(const Json& data, const Json& place) {
  for (const Json& input : data["inputs"])
    if (input["input"] == place) return &input;
  return nullptr;
}

std::size_t sample_place(const Json& data, const Json& place) {
  std::size_t i = 0;
  while (data["inputs"][i]["input"] != place) ++i;
  return i;
}

void axis_ticks(Panel& panel, const Json& input, bool across) {
  const bool levels = input.contains("levels");
  const SvgScale& scale = across ? panel.x : panel.y;
  if (!levels) {
    for (const double t : scale.ticks(across ? 7 : 6))
      across ? panel.tick_x(t, brief(t)) : panel.tick_y(t, brief(t));
    return;
  }
  for (std::size_t l = 0; l < input["levels"].size(); ++l) {
    const std::string name = label(input["levels"][l], across ? 12 : 8);
    across ? panel.tick_x(static_cast<double>(l), name) : panel.tick_y(static_cast<double>(l), name);
  }
}

Figure map_figure(const Json& data) {
  const Json &map = data["maps"][0], &across = *input_of(data, map["x"]), &up = *input_of(data, map["y"]);
  Panel panel("Regions over " + label(across["name"], 28) + " and " + label(up["name"], 28),
              {number(across["low"]), number(across["high"])}, {number(up["low"]), number(up["high"])});
  const double n = map["n"].get<double>(), width = (panel.x.to - panel.x.from) / n,
               height = (panel.y.from - panel.y.to) / n;
  double cell = 0;
  for (std::size_t i = 0; i + 1 < map["cells"].size(); i += 2) {
    const double run = map["cells"][i + 1].get<double>(), row = std::floor(cell / n);
    panel.svg.rectangle(panel.x.from + (cell - row * n) * width, panel.y.from - (row + 1) * height,
                        run * width, height,
                        {.fill = region_colour(map["cells"][i].get<std::size_t>() - 1), .opacity = 0.2});
    cell += run;
  }
  const std::vector<double> xs = numbers(data["sample"]["inputs"][sample_place(data, map["x"])]),
                            ys = numbers(data["sample"]["inputs"][sample_place(data, map["y"])]);
  const std::size_t step = 1 + xs.size() / 1500;
  for (std::size_t i = 0; i < xs.size(); i += step)
    if (panel.inside(xs[i], ys[i]))
      panel.svg.circle(
          panel.x.at(xs[i]), panel.y.at(ys[i]), 2.2,
          {.fill = region_colour(data["sample"]["region"][i].get<std::size_t>() - 1), .opacity = 0.75});
  std::vector<double> ends = numbers(map["boundaries"]);
  for (std::size_t i = 0; i + 1 < ends.size(); i += 2) {
    ends[i] = std::lerp(panel.x.from, panel.x.to, ends[i]);
    ends[i + 1] = std::lerp(panel.y.from, panel.y.to, ends[i + 1]);
  }
  panel.svg.segments(ends, {.stroke = kInk, .width = 1.4});
  axis_ticks(panel, across, true);
  axis_ticks(panel, up, false);
  panel.frame(label(across["name"]), label(up["name"]));
  return {"map", panel.svg.str()};
}

/// Lowest and highest of the finite values, with a margin.
SvgScale around(std::vector<std::vector<double>> lists) {
  SvgScale out{INFINITY, -INFINITY};
  for (const std::vector<double>& list : lists)
    for (const double v : list)
      if (std::isfinite(v)) out.low = std::min(out.low, v), out.high = std::max(out.high, v);
  if (!(out.high >= out.low)) return {0, 1};
  const double margin = out.high > out.low ? 0.04 * (out.high - out.low) : 1;
  return {out.low - margin, out.high + margin};
}

Figure curve_figure(const Json& data, std::size_t target) {
  const Json &curves = data["curves"], &input = data["inputs"][0], &of = curves["targets"][target];
  const std::vector<double> x = numbers(curves["x"]), low = numbers(of["low"]), high = numbers(of["high"]),
                            sample_x = numbers(data["sample"]["inputs"][0]),
                            sample_y = numbers(data["sample"]["targets"][target]["target"]);
  Panel panel(label(of["target"], 28) + " along " + label(input["name"], 28),
              {number(input["low"]), number(input["high"])}, around({sample_y, low, high}));
  std::vector<double> band;
  for (std::size_t i = 0; i < x.size(); ++i) band.insert(band.end(), {panel.x.at(x[i]), panel.y.at(low[i])});
  for (std::size_t i = x.size(); i-- > 0;) band.insert(band.end(), {panel.x.at(x[i]), panel.y.at(high[i])});
  panel.svg.path(band, {.fill = kInk, .opacity = 0.1}, true);
  const std::size_t step = 1 + sample_x.size() / 1500;
  for (std::size_t i = 0; i < sample_x.size(); i += step)
    if (panel.inside(sample_x[i], sample_y[i]))
      panel.svg.circle(
          panel.x.at(sample_x[i]), panel.y.at(sample_y[i]), 2.4,
          {.fill = region_colour(data["sample"]["region"][i].get<std::size_t>() - 1), .opacity = 0.8});
  for (std::size_t k = 0; k < of["experts"].size(); ++k) {
    const std::vector<double> mean = numbers(of["experts"][k]), gate = numbers(curves["gate"][k]);
    panel.line(x, mean, {.stroke = region_colour(k), .opacity = 0.6, .width = 1, .dashed = true});
    std::vector<double> where = mean;  // thick where the expert counts
    for (std::size_t i = 0; i < where.size(); ++i)
      if (gate[i] < 0.3) where[i] = NAN;
    panel.line(x, where, {.stroke = region_colour(k), .width = 2.6});
  }
  panel.line(x, numbers(of["mean"]), {.stroke = kInk, .width = 1.6});
  axis_ticks(panel, input, true);
  for (const double t : panel.y.ticks(6)) panel.tick_y(t, brief(t));
  panel.frame(label(input["name"]), label(of["target"]));
  return {target == 0 ? "curves" : "curves_" + std::to_string(target + 1), panel.svg.str()};
}

Figure share_figure(const Json& data) {
  constexpr std::size_t kMost = 24;
  const Json& regions = data["regions"];
  const std::size_t shown = std::min(kMost, regions.size());
  const double row = 24, height = kTop + row * static_cast<double>(shown) + 16;
  Svg svg(kWidth, height, "Shares of the regions");
  svg.text(kLeft, 20, "Shares of the regions", "start", 14);
  double most = 1e-12;
  for (const Json& r : regions) most = std::max(most, number(r["share"]));
  for (std::size_t k = 0; k < shown; ++k) {
    const double share = number(regions[k]["share"]), y = kTop + row * static_cast<double>(k);
    const double width = share / most * (kWidth - kLeft - 90);
    svg.text(kLeft - 8, y + 16, std::to_string(k + 1), "end");
    svg.rectangle(kLeft, y + 3, width, row - 6, {.fill = region_colour(k)});
    svg.text(kLeft + width + 6, y + 16, percent(share));
  }
  return {"shares", svg.str()};
}

Figure pit_figure(const Json& of) {
  const std::vector<double> pit = numbers(of["pit"]);
  const double bins = static_cast<double>(pit.size());
  SvgScale up{0, 1.15 * std::max(2 / bins, *std::max_element(pit.begin(), pit.end()))};
  Panel panel("Calibration: where " + label(of["target"], 28) + " falls in its prediction", {0, 1}, up);
  for (std::size_t b = 0; b < pit.size(); ++b) {
    const double begin = panel.x.at(static_cast<double>(b) / bins),
                 end = panel.x.at(static_cast<double>(b + 1) / bins);
    panel.svg.rectangle(begin + 1, panel.y.at(pit[b]), end - begin - 2, panel.y.from - panel.y.at(pit[b]),
                        {.fill = region_colour(0), .opacity = 0.7});
  }
  panel.line({0, 1}, {1 / bins, 1 / bins}, {.stroke = kInk, .width = 1.4, .dashed = true});
  panel.axes("probability of a smaller value (PIT); flat is right", "share of rows");
  return {"calibration", panel.svg.str()};
}

Figure reliability_figure(const Json& classes) {
  Panel panel("Calibration: how often the prediction is right", {0, 1}, {0, 1});
  panel.line({0, 1}, {0, 1}, {.stroke = kInk, .width = 1.2, .dashed = true});
  std::vector<double> x, y;
  double most = 1e-12;
  for (const Json& bin : classes["bins"]) most = std::max(most, number(bin["weight"]));
  for (const Json& bin : classes["bins"]) {
    x.push_back(number(bin["confidence"]));
    y.push_back(number(bin["accuracy"]));
    panel.svg.circle(panel.x.at(x.back()), panel.y.at(y.back()),
                     3 + 9 * std::sqrt(number(bin["weight"]) / most),
                     {.fill = region_colour(0), .opacity = 0.7});
  }
  panel.line(x, y, {.stroke = region_colour(0), .width = 1.6});
  panel.axes("probability of the predicted class", "share of rows where it is right");
  return {"calibration", panel.svg.str()};
}

}  // namespace

std::vector<Figure> figures(const Json& data) {
  std::vector<Figure> out;
  if (!data["curves"].is_null() && data["curves"].contains("targets"))
    for (std::size_t j = 0; j < data["curves"]["targets"].size(); ++j) out.push_back(curve_figure(data, j));
  if (!data["maps"].empty()) out.push_back(map_figure(data));
  out.push_back(share_figure(data));
  const Json& calibration = data["calibration"];
  if (!calibration["targets"].empty()) out.push_back(pit_figure(calibration["targets"][0]));
  if (calibration.contains("classes")) out.push_back(reliability_figure(calibration["classes"]));
  return out;
}

}  // namespace moekit::cli
