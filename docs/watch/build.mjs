// Build the page: node build.mjs FOLDER, where FOLDER is docs/watch/built. `make watch` does it.
// Two things in there come from elsewhere: examples/course/trace_bptt.py writes the recording,
// pictures.py the still pictures.
import { readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";
import katex from "katex";
import { cellEquations, equations } from "./src/equations.js";
import { stillNumbers } from "./src/still.js";

const folder = process.argv[2];
const html = (tex, output = "htmlAndMathml") => katex.renderToString(tex, { output, throwOnError: true });
const inline = /\$([^$]+)\$/g;

/** Equations are set when the page is built, so that it needs no program for them. */
const rendered = {
  name: "rendered",
  setup(b) {
    b.onResolve({ filter: /^rendered$/ }, () => ({ path: "rendered", namespace: "rendered" }));
    b.onLoad({ filter: /.*/, namespace: "rendered" }, () => ({
      contents: [
        `export const equationHtml = ${JSON.stringify(equations.map(([, , , e]) => (e.tex ? html(e.tex, "html") : "")))};`,
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
  outdir: folder,
  loader: { ".woff2": "dataurl" },
  plugins: [rendered, style],
  logLevel: "warning",
});
const page = await readFile("src/index.html", "utf8");
new Function(await readFile(`${folder}/recording.js`, "utf8"))();
const text = page.replace("<!--numbers-->", stillNumbers()).replace(inline, (_, tex) => html(tex));
await writeFile(`${folder}/index.html`, text);

/** The licences of what the bundle contains. */
const packages = ["d3-selection", "d3-shape", "d3-path", "katex"];
const licences = packages.map(async (name) => `${name}\n\n${await readFile(`node_modules/${name}/LICENSE`, "utf8")}`);
await writeFile(`${folder}/licences.txt`, (await Promise.all(licences)).join("\n\n"));
