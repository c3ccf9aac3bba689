// The specification of each chart stands beside it as JSON. The tables have the same numbers for
// readers without JavaScript.
for (const chart of document.querySelectorAll(".chart")) {
  const spec = JSON.parse(chart.nextElementSibling.textContent);
  // Set before drawing, because Vega reserves space for the rows of a legend at that moment.
  spec.config.legend.columns = chart.clientWidth < 520 ? 1 : 3;
  vegaEmbed(chart, spec, {
    mode: "vega-lite",
    renderer: "svg",
    actions: false,
    tooltip: { theme: "page" },
    logLevel: 1, // errors
  });
}
