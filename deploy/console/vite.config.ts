import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const OUT = fileURLToPath(new URL("../../query_service/console", import.meta.url));
const SERVER = process.env.TIDEMARK_QUERY_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "/console/",
  plugins: [svelte({ compilerOptions: { css: "external" } }), { name: "clean-assets", buildStart: () => rmSync(`${OUT}/assets`, { recursive: true, force: true }) }],
  build: {
    outDir: OUT,
    emptyOutDir: false,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    license: { fileName: "licenses.txt" },
  },
  // For work on the pages: `npx vite` in this folder, beside a running `make up`.
  server: { proxy: { "^/(?!console/|src/|node_modules/|@)": SERVER, "/console/config.json": SERVER } },
});
