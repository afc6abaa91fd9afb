/** A number with about three significant digits, as a reader writes it; null is "not written yet". */
export function fmt(v, digits = 3) {
  if (v === null || v === undefined || Number.isNaN(v)) return "·";
  if (v === 0) return "0";
  const size = Math.abs(v);
  let text;
  if (size < 0.001) {
    const [mantissa, exponent] = size.toExponential(1).split("e");
    text = `${mantissa}e${exponent.replace("-", "−").replace("+", "")}`;
  } else if (size >= 1000) text = size.toFixed(0);
  else text = size.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
  return (v < 0 ? "−" : "") + text;
}

/** The same where there is little room: three digits after the point, unless it is tiny or large. */
export function short(v) {
  if (v === null || v === undefined || Number.isNaN(v)) return "·";
  const size = Math.abs(v);
  return size >= 10 || (size > 0 && size < 0.0005) ? fmt(v, 2) : fixed(v, 3);
}

/** With a fixed number of digits after the point. */
export const fixed = (v, digits = 4) => (v < 0 && Number(v.toFixed(digits)) !== 0 ? "−" : "") + Math.abs(v).toFixed(digits);

export const norm = (values) => Math.hypot(...values);

export const escape = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

/** h_t with a subscript, in HTML. */
export const sub = (name, t) => `<i>${name}</i><sub>${t < 0 ? "−" + -t : t}</sub>`;
