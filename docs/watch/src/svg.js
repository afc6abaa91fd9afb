import { select } from "d3-selection";

const NS = "http://www.w3.org/2000/svg";

/** Make the children of an SVG element equal to a list of {key, tag, text, …attributes}. */
export function put(parent, items) {
  select(parent)
    .selectAll(":scope > *")
    .data(items, function (d) { return d ? d.key : this.getAttribute("key"); })
    .join((enter) => enter.append((d) => document.createElementNS(NS, d.tag)))
    .each(function ({ key, tag, text, children, on, ...attributes }) {
      for (const name of this.getAttributeNames()) if (!(name in attributes)) this.removeAttribute(name);
      for (const [name, value] of Object.entries(attributes)) {
        const v = String(value);
        if (this.getAttribute(name) !== v) this.setAttribute(name, v);
      }
      if (children) put(this, children);
      else if (text !== undefined && this.textContent !== String(text)) this.textContent = text;
      if (on) for (const [event, f] of Object.entries(on)) this["on" + event] = f;
    })
    .order();
}

/** Three bars around a middle line: to the right positive, to the left negative. */
export function bars(key, values, x, y, width, height, most, kind) {
  const middle = x + width / 2;
  const step = height / values.length;
  const items = [{ key: key + "axis", tag: "path", class: "axis", d: `M${middle} ${y}v${height}` }];
  values.forEach((v, i) => {
    const known = v !== null && !Number.isNaN(v);
    const length = known ? Math.max(Math.min(Math.abs(v) / most, 1) * (width / 2), v === 0 ? 0 : 1.2) : 0;
    items.push({
      key: `${key}b${i}`, tag: "rect", class: `bit ${kind}`, rx: 1.5,
      x: v < 0 ? middle - length : middle, y: y + i * step + step * 0.14, width: length, height: step * 0.72,
    });
  });
  return items;
}

/** An arrow as one filled shape, from (x1, y1) to (x2, y2), horizontal or vertical. */
export function arrow(x1, y1, x2, y2, width, head = 5) {
  const length = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [ux, uy] = [(x2 - x1) / length, (y2 - y1) / length];
  const [nx, ny] = [-uy, ux];
  const w = width / 2;
  const h = Math.min(w + 3.2, 9);
  const back = Math.min(head + w * 0.7, length);
  const at = (along, side) => `${(x1 + ux * along + nx * side).toFixed(1)} ${(y1 + uy * along + ny * side).toFixed(1)}`;
  return `M${at(0, w)}L${at(length - back, w)}L${at(length - back, h)}L${at(length, 0)}L${at(length - back, -h)}L${at(length - back, -w)}L${at(0, -w)}Z`;
}

const widths = new WeakMap();

/** The width of an element, measured once until `forgetWidths`: measuring forces a layout. */
export function widthOf(element) {
  if (!widths.has(element)) {
    if (!element.clientWidth) return 0;
    widths.set(element, [generation, element.clientWidth]);
  }
  const [since, width] = widths.get(element);
  if (since !== generation) {
    widths.delete(element);
    return widthOf(element);
  }
  return width;
}

let generation = 0;
export const forgetWidths = () => generation++;
