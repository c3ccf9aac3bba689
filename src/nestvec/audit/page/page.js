// Each chart's specification lies beside it as JSON. The tables hold the same numbers for those who
// read without scripts.
for (const chart of document.querySelectorAll(".chart")) {
  const spec = JSON.parse(chart.nextElementSibling.textContent);
  const options = { mode: "vega-lite", renderer: "svg", actions: false, tooltip: { theme: "page" } };
  vegaEmbed(chart, spec, options);
}

// Paper cannot unfold.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
