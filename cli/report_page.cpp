#include "report_page.hpp"

#include "figures.hpp"
#include "report_assets.hpp"
#include "report_json.hpp"

namespace moekit::cli {

namespace {

// Nothing may be fetched, whatever the data say.
const char* const kHead =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n";

const char* const kPlotsNotice =
    "/* Observable Plot, Copyright 2020-2023 Observable, Inc.; D3, Copyright 2010-2023 Mike Bostock. ISC "
    "licence: permission to use, copy, modify, and/or distribute this software for any purpose with or "
    "without "
    "fee is hereby granted, provided that the above copyright notice and this permission notice appear in "
    "all "
    "copies. The software is provided \"as is\" without warranty of any kind. */\n";

}  // namespace

std::string report_page(const Json& data, bool interactive) {
  const bool plots = interactive && !kReportPlots.empty();
  std::string target;
  for (const Json& each : data["model"]["targets"])
    target += (target.empty() ? "" : ", ") + each["name"].get<std::string>();
  std::string page = kHead;
  page += "<title>" + escaped(target + ": mixture of " + data["summary"]["experts"].dump() + " experts") +
          "</title>\n<style>\n";
  page += kReportStyle;
  page +=
      "</style>\n</head>\n<body>\n<main id=\"report\"><noscript>This report needs JavaScript; "
      "summary.json, experts.csv, regions.csv and coefficients.csv of moekit diagnose hold the same "
      "figures.</noscript></main>\n";
  if (!plots)
    for (const Figure& figure : figures(data))
      page += "<template id=\"picture-" + figure.name + "\">" + figure.svg + "</template>\n";
  page += "<script type=\"application/json\" id=\"data\">" + embedded(data) + "</script>\n";
  if (plots) {
    page += "<script>\n";
    page += kPlotsNotice;
    page += kReportPlots;
    page += "</script>\n";
  }
  page += "<script>\n(() => {\n\"use strict\";\n";
  page += kReportScript;
  page += "})();\n</script>\n</body>\n</html>\n";
  return page;
}

}  // namespace moekit::cli
