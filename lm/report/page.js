// Under the pointer, the curves nearest to it are read out: at most so many, the highest first.
const MOST = 8;

for (const svg of document.querySelectorAll("svg.chart")) {
  const line = svg.querySelector(".pointer"), out = svg.parentNode.querySelector(".readout");
  const series = [...svg.querySelectorAll("[data-values]")].map(g => ({
    name: g.dataset.name,
    style: g.getAttribute("class"),
    places: g.dataset.places.split(" ").map(p => p.split(",").map(Number)),
    values: g.dataset.values.split(" ").map(v => v.split(":")),
  }));
  svg.addEventListener("pointermove", event => {
    const pointer = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(svg.getScreenCTM().inverse());
    const points = series.map(s => {
      const distances = s.places.map(([x]) => Math.abs(x - pointer.x));
      const i = distances.indexOf(Math.min(...distances));
      return { ...s, x: s.places[i][0], y: s.places[i][1], value: s.values[i] };
    });
    const nearest = axis => [...points].sort((a, b) =>
      Math.abs(a[axis] - pointer[axis]) - Math.abs(b[axis] - pointer[axis]));
    const shown = nearest("y").slice(0, MOST).sort((a, b) => a.y - b.y);
    const { x, value: [epoch] } = nearest("x")[0];
    line.style.visibility = "visible";
    line.setAttribute("transform", `translate(${x} 0)`);
    out.style.top = `${svg.getBoundingClientRect().top - svg.parentNode.getBoundingClientRect().top}px`;
    out.classList.toggle("left", pointer.x > svg.viewBox.baseVal.width / 2);
    out.replaceChildren(`epoch ${epoch}`, ...shown.map(point => row(point, epoch)));
  });
  svg.addEventListener("pointerleave", () => {
    line.style.visibility = "hidden";
    out.replaceChildren();
  });
}

function row({ name, style, value: [at, value] }, epoch) {
  const line = document.createElement("div");
  line.innerHTML = `<svg class="swatch" viewBox="0 0 36 10"><g class="${style}"><path d="M1 5H35"/></g></svg>`;
  line.append(` ${value} ${name}${at === epoch ? "" : ` (epoch ${at})`}`);
  return line;
}
