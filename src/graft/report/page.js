// Draws the figures: reads each spec from the page, takes colours from the style sheet.
(() => {
  "use strict";
  const root = document.documentElement;
  const color = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const many = (name) => color(name).split(/\s+/);

  function config() {
    const ink = color("ink"), soft = color("soft-ink"), rule = color("rule");
    const accent = color("accent"), paper = color("paper"), wrong = color("bad");
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: "transparent",
      font,
      padding: { left: 2, right: 10, top: 4, bottom: 4 },
      view: { stroke: null },
      axis: {
        labelColor: soft, titleColor: soft, titleFontWeight: "normal", titleFontSize: 12,
        labelFontSize: 12, gridColor: rule, domainColor: rule, tickColor: rule, labelLimit: 190,
        titlePadding: 8, labelPadding: 5,
      },
      axisX: { grid: false },
      axisBand: { domain: false, ticks: false },
      legend: {
        labelColor: ink, titleColor: soft, labelFontSize: 12, titleFontSize: 12,
        titleFontWeight: "normal", symbolSize: 70, labelLimit: 170,
      },
      range: {
        category: many("categories"), ordinal: many("parts"), heatmap: many("ramp"),
        symbol: ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross",
          "triangle-right", "triangle-left"],
      },
      text: { color: ink, fontSize: 12 },
      style: {
        accent: { fill: accent, color: accent },
        soft: { fill: color("accent-soft"), color: color("accent-soft") },
        faint: { fill: color("accent-soft"), color: color("accent-soft"), opacity: 0.45 },
        right: { fill: accent, color: accent },
        wrong: { fill: wrong, color: wrong },
        note: { fill: soft, color: soft, fontSize: 12 },
        rule: { stroke: rule, color: rule },
        border: { stroke: soft, color: soft, strokeWidth: 1, strokeOpacity: 0.55, fill: null },
        dashed: { stroke: soft, color: soft, strokeWidth: 1.4, strokeDash: [5, 4] },
        "accent-point": { fill: accent, color: accent, opacity: 1 },
        rest: { fill: soft, color: soft, opacity: 0.3 },
        ring: { stroke: wrong, color: wrong, strokeWidth: 1.5, opacity: 0.9 },
        centre: { stroke: paper, strokeWidth: 2, opacity: 1 },
        "accent-line": { stroke: accent, color: accent, strokeWidth: 2 },
        link: { stroke: accent, color: accent, strokeWidth: 1.6, opacity: 0.85 },
        "on-strong": { fill: paper, color: paper },
        "on-faint": { fill: ink, color: ink },
      },
    };
  }

  const views = new Map();

  function draw(place) {
    const name = place.dataset.chart;
    const spec = JSON.parse(document.getElementById(`spec-${name}`).textContent);
    const { spec: compiled } = vegaLite.compile(spec, { config: config() });
    views.get(name)?.finalize();
    place.replaceChildren();
    const view = new vega.View(vega.parse(compiled, null, { ast: true }), {
      container: place,
      expr: vega.expressionInterpreter,
      logLevel: vega.Warn,
      renderer: "svg",
    });
    views.set(name, view);
    return view.runAsync();
  }

  // One figure that fails leaves the others alone, and opens the table of its numbers.
  async function drawOrTell(place) {
    try {
      await draw(place);
      return true;
    } catch (error) {
      console.warn(`the figure ${place.dataset.chart} cannot be drawn: ${error}`);
      const note = document.createElement("p");
      note.className = "undrawn";
      note.textContent = "This figure cannot be drawn.";
      place.replaceChildren(note);
      place.closest("figure").querySelector("details")?.setAttribute("open", "");
      return false;
    }
  }

  function drawAll() {
    const places = [...document.querySelectorAll("[data-chart]")];
    return Promise.all(places.map(drawOrTell)).then((drawn) => {
      root.dataset.drawn = String(drawn.filter(Boolean).length);
    });
  }

  root.classList.add("draws");
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
