import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const OUT = fileURLToPath(new URL("../../query_service/console", import.meta.url));
const SERVER = process.env.TIDEMARK_QUERY_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "/console/",
  plugins: [svelte({ compilerOptions: { css: "external", runes: true } })],
  build: {
    outDir: OUT,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { checks: { bundlerTimings: false } },
    cssCodeSplit: false,
    license: { fileName: "licenses.txt" },
  },
  // For work on the pages: `npx vite` in this folder, beside a running `make up`.
  server: { proxy: { "^/(?!console/|src/|node_modules/|@)": SERVER, "/console/config.json": SERVER } },
});
