#pragma once
#include <string>
#include <vector>

namespace moekit::cli {

/// Colours of the regions, by number: the first ten stand well apart, for the colour-blind too.
std::string region_colour(std::size_t region);

/// A picture in SVG: shapes in pixels from the top left. Texts and lines take the colour of the surrounding
/// text (light and dark pages), black where there is none.
class Svg {
 public:
  struct Paint {
    std::string fill = "none", stroke = "none";
    double opacity = 1, width = 1;
    bool dashed = false;
  };
  Svg(double width, double height, const std::string& title);
  void rectangle(double x, double y, double width, double height, const Paint& paint);
  void circle(double x, double y, double radius, const Paint& paint);
  /// x1, y1, x2, y2, ...: a line through all points; closed: a filled shape.
  void path(const std::vector<double>& points, const Paint& paint, bool closed = false);
  /// Segments x1, y1, x2, y2 in one element.
  void segments(const std::vector<double>& ends, const Paint& paint);
  /// anchor: start, middle or end. Any text is safe.
  void text(double x, double y, const std::string& text, const std::string& anchor = "start",
            double size = 12, double turn = 0);
  std::string str() const;

 private:
  void shape(const std::string& element, const Paint& paint);
  std::string body_;
};

/// An axis from data to pixels, with ticks at round numbers.
struct SvgScale {
  double low = 0, high = 1, from = 0, to = 1;  ///< data, pixels
  double at(double value) const { return from + (value - low) / (high - low) * (to - from); }
  std::vector<double> ticks(int about) const;
};

}  // namespace moekit::cli
