// Under the pointer, the nearest point of each curve is read out.
for (const svg of document.querySelectorAll("svg.chart")) {
  const line = svg.querySelector(".pointer"), out = svg.parentNode.querySelector(".readout");
  const series = [...svg.querySelectorAll("[data-values]")].map(g => ({
    name: g.dataset.name,
    places: g.dataset.places.split(" ").map(p => parseFloat(p)),
    values: g.dataset.values.split(" ").map(v => v.split(":")),
  }));
  svg.addEventListener("pointermove", event => {
    const x = new DOMPoint(event.clientX, 0).matrixTransform(svg.getScreenCTM().inverse()).x;
    const near = series.map(s => s.places.reduce((best, place, i) =>
      Math.abs(place - x) < Math.abs(s.places[best] - x) ? i : best, 0));
    const at = series.map((s, k) => s.places[near[k]]);
    const first = at.reduce((a, b) => Math.abs(b - x) < Math.abs(a - x) ? b : a);
    line.style.visibility = "visible";
    line.setAttribute("transform", `translate(${first} 0)`);
    out.textContent = series.map((s, k) =>
      `${s.name} ${s.values[near[k]][1]} (epoch ${s.values[near[k]][0]})`).join(" · ");
  });
  svg.addEventListener("pointerleave", () => {
    line.style.visibility = "hidden";
    out.textContent = "";
  });
}
