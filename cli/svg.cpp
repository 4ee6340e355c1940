#include "svg.hpp"

#include <array>
#include <cmath>
#include <cstdio>

#include "report_json.hpp"

namespace moekit::cli {

namespace {

/// Pixels with two decimals, whatever the locale.
std::string px(double value) {
  const double rounded = std::round((std::isfinite(value) ? value : 0) * 100) / 100;
  return plotted(rounded).dump();
}

std::string attribute(const char* name, const std::string& value) {
  return std::string(" ") + name + "=\"" + value + "\"";
}

std::string hex(double red, double green, double blue) {
  std::array<char, 8> out{};
  const auto byte = [](double v) { return static_cast<unsigned>(std::lround(255 * v)) & 255u; };
  std::snprintf(out.data(), out.size(), "#%02x%02x%02x", byte(red), byte(green), byte(blue));
  return out.data();
}

/// A colour of the wheel at the hue (0 .. 1), of medium lightness.
std::string wheel(double hue) {
  const double chroma = 0.5, lightness = 0.5;
  const auto channel = [&](double n) {
    const double k = std::fmod(n + 12 * hue, 12.0);
    return lightness - 0.5 * chroma * std::fmax(-1, std::fmin(std::fmin(k - 3, 9 - k), 1));
  };
  return hex(channel(0), channel(8), channel(4));
}

}  // namespace

std::string region_colour(std::size_t region) {
  static const std::array<const char*, 10> first = {"#3b7dd8", "#e07b1a", "#2a9d62", "#d1477f", "#8563d1",
                                                    "#94702f", "#1496ab", "#7b8190", "#a89a00", "#c0392b"};
  if (region < first.size()) return first[region];
  const double golden = 0.6180339887498949;
  return wheel(std::fmod(static_cast<double>(region) * golden, 1.0));
}

Svg::Svg(double width, double height, const std::string& title) {
  body_ = "<svg xmlns=\"http://www.w3.org/2000/svg\"" +
          attribute("viewBox", "0 0 " + px(width) + " " + px(height)) + attribute("width", px(width)) +
          attribute("height", px(height)) +
          " role=\"img\" font-family=\"system-ui, sans-serif\">\n<style>svg { color: #222; max-width: 100%; "
          "height: auto } @media (prefers-color-scheme: dark) { svg { color: #ddd } }</style>\n<title>" +
          escaped(title) + "</title>\n";
}

void Svg::shape(const std::string& element, const Paint& paint) {
  body_ += "<" + element + attribute("fill", paint.fill);
  if (paint.stroke != "none")
    body_ += attribute("stroke", paint.stroke) + attribute("stroke-width", px(paint.width));
  if (paint.opacity < 1) body_ += attribute("opacity", px(paint.opacity));
  if (paint.dashed) body_ += attribute("stroke-dasharray", "4 3");
  body_ += "/>\n";
}

void Svg::rectangle(double x, double y, double width, double height, const Paint& paint) {
  shape("rect" + attribute("x", px(x)) + attribute("y", px(y)) + attribute("width", px(width)) +
            attribute("height", px(height)),
        paint);
}

void Svg::circle(double x, double y, double radius, const Paint& paint) {
  shape("circle" + attribute("cx", px(x)) + attribute("cy", px(y)) + attribute("r", px(radius)), paint);
}

void Svg::path(const std::vector<double>& points, const Paint& paint, bool closed) {
  std::string d;
  for (std::size_t i = 0; i + 1 < points.size(); i += 2)
    d += (i == 0 ? "M" : "L") + px(points[i]) + " " + px(points[i + 1]);
  shape("path" + attribute("d", d + (closed ? "Z" : "")), paint);
}

void Svg::segments(const std::vector<double>& ends, const Paint& paint) {
  std::string d;
  for (std::size_t i = 0; i + 3 < ends.size(); i += 4)
    d += "M" + px(ends[i]) + " " + px(ends[i + 1]) + "L" + px(ends[i + 2]) + " " + px(ends[i + 3]);
  shape("path" + attribute("d", d), paint);
}

void Svg::text(double x, double y, const std::string& text, const std::string& anchor, double size,
               double turn) {
  body_ += "<text" + attribute("x", px(x)) + attribute("y", px(y)) + attribute("font-size", px(size)) +
           attribute("text-anchor", anchor) + " fill=\"currentColor\"";
  if (turn != 0) body_ += attribute("transform", "rotate(" + px(turn) + " " + px(x) + " " + px(y) + ")");
  body_ += ">" + escaped(text) + "</text>\n";
}

std::string Svg::str() const { return body_ + "</svg>\n"; }

std::vector<double> SvgScale::ticks(int about) const {
  const double width = high - low;
  std::vector<double> out;
  if (!(width > 0) || !std::isfinite(width)) return {low};
  const double rough = width / about, power = std::pow(10.0, std::floor(std::log10(rough)));
  const double lead = rough / power;
  const double step = power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
  for (double i = std::ceil(low / step); i * step <= high + 1e-9 * step && out.size() < 50; ++i)
    out.push_back(i * step);
  return out;
}

}  // namespace moekit::cli
