"use strict";
(() => {
  const plots = [...document.querySelectorAll(".plot")];
  const boxes = [...document.querySelectorAll("input[name=run]")];
  const narrow = matchMedia("(max-width: 640px)").matches;
  const pointer = matchMedia("(hover: hover)").matches;

  function sort(head) {
    const table = head.closest("table"), column = head.cellIndex, number = head.classList.contains("number");
    const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.order;
    const compare = (a, b) => (number ? a - b : a.localeCompare(b, "en", { numeric: true }));
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      return direction * compare(x, y);
    });
    table.tBodies[0].append(...rows);
  }

  async function library() {
    const place = document.getElementById("library");
    const bytes = Uint8Array.from(atob(place.textContent), (c) => c.charCodeAt(0));
    place.remove();
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(plain).text();
    document.head.append(script);
  }

  function say(plot, text) {
    plot.replaceChildren(Object.assign(document.createElement("p"), { textContent: text }));
  }

  async function draw(plot) {
    const { data, layout } = JSON.parse(plot.closest("figure").querySelector("script").textContent);
    // On a touch screen a finger that scrolls the page would zoom.
    if (narrow) Object.assign(layout, { dragmode: false });
    const modeBarButtons = [["toImage", "resetScale2d"]]; // of the others, one would send the figure to a server
    const displayModeBar = pointer ? "hover" : false;
    const config = { responsive: true, displaylogo: false, modeBarButtons, displayModeBar };
    await Plotly.newPlot(plot, data, layout, config);
    plot.dataset.drawn = "yes";
  }

  function select() {
    const off = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    for (const element of document.querySelectorAll("[data-run]")) element.hidden = off.has(element.dataset.run);
    for (const plot of plots.filter((plot) => plot.data)) {
      const runs = plot.data.map((trace) => trace.meta && trace.meta.run);
      if (runs.some((run) => run !== null && run !== undefined)) {
        Plotly.restyle(plot, { visible: runs.map((run) => !off.has(String(run))) });
      }
      plot.data.forEach((trace, index) => {
        if (!trace.meta || !trace.meta.axis) return;
        const kept = boxes.filter((box) => box.checked).map((box) => [+box.value - 0.3, +box.value + 0.3]);
        const range = off.size === 0 ? null : kept.length ? kept : [[-0.45, -0.4]];
        Plotly.restyle(plot, { "dimensions[0].constraintrange": [range] }, index);
      });
      if (plot.offsetParent) Plotly.Plots.resize(plot);
    }
  }

  for (const head of document.querySelectorAll("th")) head.querySelector("button").onclick = () => sort(head);
  for (const box of boxes) box.onchange = select;

  (async () => {
    try {
      await library();
    } catch (error) {
      const needs = "The figures need Chrome or Edge 80, Firefox 113, Safari 16.4 or newer";
      for (const plot of plots) say(plot, `${needs} (${error.message}).`);
      return;
    }
    for (const plot of plots) {
      try {
        await draw(plot);
      } catch (error) {
        console.error(plot.id, error);
        say(plot, `This figure could not be drawn: ${error.message}`);
      }
      await new Promise((resolve) => setTimeout(resolve)); // scrolling goes on meanwhile
    }
    select();
    document.body.dataset.ready = "yes";
  })();
})();
