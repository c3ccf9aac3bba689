// Each chart's specification lies beside it as JSON. The tables hold the same numbers for those who
// read without scripts.
for (const chart of document.querySelectorAll(".chart")) {
  const spec = JSON.parse(chart.nextElementSibling.textContent);
  // Before it is drawn: room is kept for the rows of a legend as they are then.
  spec.config.legend.columns = chart.clientWidth < 520 ? 1 : 3;
  vegaEmbed(chart, spec, {
    mode: "vega-lite",
    renderer: "svg",
    actions: false,
    tooltip: { theme: "page" },
    logLevel: 1, // errors
  });
}
