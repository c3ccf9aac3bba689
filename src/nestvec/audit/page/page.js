// Each chart's specification lies beside it as JSON. The tables hold the same numbers for those who
// read without scripts.
for (const chart of document.querySelectorAll(".chart")) {
  vegaEmbed(chart, JSON.parse(chart.nextElementSibling.textContent), {
    mode: "vega-lite",
    renderer: "svg",
    actions: false,
    tooltip: { theme: "page" },
    logLevel: 1, // errors
  });
}
