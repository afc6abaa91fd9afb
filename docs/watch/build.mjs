// Build the page into built/: npm run build. The recording is not built here; Python writes it.
import { readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";
import katex from "katex";
import { cellEquations, equations } from "./src/equations.js";

const html = (tex) => katex.renderToString(tex, { output: "htmlAndMathml", throwOnError: true });
const inline = /\$([^$]+)\$/g;

/** Equations are set when the page is built, so that it needs no program for them. */
const rendered = {
  name: "rendered",
  setup(b) {
    b.onResolve({ filter: /^rendered$/ }, () => ({ path: "rendered", namespace: "rendered" }));
    b.onLoad({ filter: /.*/, namespace: "rendered" }, () => ({
      contents: [
        `export const equationHtml = ${JSON.stringify(equations.map(([, , , e]) => (e.tex ? html(e.tex) : "")))};`,
        `export const cellHtml = ${JSON.stringify(Object.fromEntries(Object.entries(cellEquations).map(([k, v]) => [k, v.map(html)])))};`,
      ].join("\n"),
    }));
  },
};

/** KaTeX's style with the two fonts that the equations use. */
const style = {
  name: "katex-style",
  setup(b) {
    b.onLoad({ filter: /katex\.css$/ }, async ({ path }) => {
      const css = await readFile(path, "utf8");
      const used = /KaTeX_(Main-Regular|Math-Italic)\.woff2/;
      const kept = css.replace(/@font-face\s*{[^}]*}/g, (face) =>
        used.test(face) ? face.replace(/src:[^;}]*?(url\([^)]*woff2\)[^,;}]*)[^;}]*/, "src: $1; font-display: swap") : "",
      );
      return { contents: kept, loader: "css", resolveDir: path.replace(/[^/]*$/, "") };
    });
  },
};

await build({
  entryPoints: { page: "src/main.js" },
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2021"],
  charset: "utf8",
  outdir: "built",
  loader: { ".woff2": "dataurl" },
  plugins: [rendered, style],
  logLevel: "warning",
});
const page = await readFile("src/index.html", "utf8");
await writeFile("built/index.html", page.replace(inline, (_, tex) => html(tex)));
