// The texts whose contrast to what is behind them is below 4.5 (WCAG 2.2, level AA).
() => {
  const rgba = (color) => {
    const [r, g, b, a = 1] = (color.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const unit = color.startsWith("color(") ? 255 : 1; // color(srgb 1 1 1), from color-mix
    return [unit * r, unit * g, unit * b, a];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((x, i) => a * x + (1 - a) * under[i]);
  const luminance = (color) => {
    const [r, g, b] = color.map((x) => x / 255).map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  // In a diagram the shape of a node is behind its label.
  const shape = (element) => {
    const node = element.closest("svg .node, svg .cluster");
    const drawn = node && node.querySelector("rect.basic, rect, circle, polygon, path, ellipse");
    return drawn ? rgba(getComputedStyle(drawn).fill) : [0, 0, 0, 0];
  };
  const background = (element) => {
    const layers = element.closest("svg") ? [shape(element)] : [];
    for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const shown = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && element.checkVisibility({ opacityProperty: true, visibilityProperty: true })
      && !element.closest(".katex-mathml, .visually-hidden, script, style, noscript");
  };
  const low = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const element = text.parentElement;
    if (!text.data.trim() || !shown(element)) continue;
    const behind = background(element);
    const style = getComputedStyle(element);
    const color = over(rgba(element.closest("svg text") ? style.fill : style.color), behind);
    const [dark, light] = [luminance(color), luminance(behind)].sort((a, b) => a - b);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) low.add(`contrast ${contrast.toFixed(2)}: "${text.data.trim().slice(0, 30)}" (${element.tagName} ${element.className})`);
  }
  return [...low];
}
