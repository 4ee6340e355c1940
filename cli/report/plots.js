// The part of Observable Plot that the report uses, as one global. Bundled when moekit is built, so that the
// page needs no network; without it the page shows the same figures as tables and plain pictures.
import {
  areaY, barX, dot, frame, line, link, plot, rect, rectY, ruleX, ruleY,
  tickX, tip, pointer
} from "@observablehq/plot";

globalThis.MoekitPlot = {
  areaY, barX, dot, frame, line, link, plot, rect, rectY, ruleX, ruleY,
  tickX, tip, pointer
};
