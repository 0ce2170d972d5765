// Builds `dist/`, which the server embeds: `node build.mjs`. With `--tests`: the unit tests, for Node, into `.test/`.
// The same sources and lock file give the same bytes.
import { readdirSync, rmSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { build } from "esbuild";

process.chdir(import.meta.dirname);

const common = {
  bundle: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "warning",
  metafile: true,
};

if (process.argv.includes("--tests")) {
  rmSync(".test", { recursive: true, force: true });
  const entryPoints = readdirSync("test").filter((name) => name.endsWith(".test.ts")).map((name) => `test/${name}`);
  await build({ ...common, entryPoints, outdir: ".test", platform: "node" });
} else {
  await page();
}

async function page() {
  rmSync("dist", { recursive: true, force: true });
  mkdirSync("dist");
  const options = { ...common, outdir: "dist", minify: true, entryNames: "[name]-[hash]" };
  const worklet = outputs(await build({ ...options, entryPoints: ["src/record/worklet.ts"] }));
  const define = { WORKLET_URL: JSON.stringify(`/assets/${worklet[0]}`) };
  const main = await build({ ...options, entryPoints: ["src/main.tsx"], define });
  const icon = readFileSync("src/icon.svg");
  writeFileSync("dist/icon.svg", icon);

  const names = [...worklet, ...outputs(main), "icon.svg"].sort();
  const named = (start, end) => names.find((name) => name.startsWith(start) && name.endsWith(end));
  const html = readFileSync("src/index.html", "utf8")
    .replace("main.js", named("main-", ".js"))
    .replace("main.css", named("main-", ".css"));
  writeFileSync("dist/index.html", html);
  writeFileSync("dist/assets.rs", rust(names));
}

function outputs(result) {
  return Object.keys(result.metafile.outputs).map((path) => basename(path));
}

function rust(names) {
  const assets = names.map((name) => `    Asset { name: "${name}", bytes: include_bytes!("${name}") },\n`);
  return (
    "// Written by web/build.mjs.\n" +
    'const INDEX: &str = include_str!("index.html");\n' +
    `static ASSETS: [Asset; ${names.length}] = [\n${assets.join("")}];\n`
  );
}
