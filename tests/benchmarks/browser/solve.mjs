// Serves the page and an artifact on the loopback, opens it in headless Chromium, cuts the network, and asks.
//
//   npm ci && node solve.mjs --artifact ../../../runs/export/onnx-int8 --question "Solve for x: 3 * x + 4 = 19" \
//     --screenshot page.png [--chromium /usr/bin/chromium] [--expect-tokens 12,34,2]
//
// Prints what the page computed as one line of JSON. Ends with status 1 if the page fails, asks for anything after the
// network is cut, or answers with other tokens than those expected.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import puppeteer from "puppeteer-core";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const TIMEOUT_MS = 300_000;
const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

const { values: options } = parseArgs({
  options: {
    artifact: { type: "string" },
    question: { type: "string", default: "Solve for x: 3 * x + 4 = 19" },
    screenshot: { type: "string", default: "page.png" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    "expect-tokens": { type: "string" },
  },
});
if (!options.artifact) {
  console.error("solve.mjs: give the folder of an ONNX artifact: --artifact FOLDER");
  process.exit(2);
}

const server = createServer((request, response) => {
  const name = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  const [root, rest] = name.startsWith("/artifact/") ? [options.artifact, name.slice(10)] : [HERE, name.slice(1)];
  const file = path.join(root, path.normalize(`/${rest || "index.html"}`));
  stat(file).then(
    () => {
      response.writeHead(200, { "content-type": TYPES[path.extname(file)] ?? "application/octet-stream" });
      createReadStream(file).pipe(response);
    },
    () => response.writeHead(404).end(),
  );
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const browser = await puppeteer.launch({
  executablePath: options.chromium,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
  protocolTimeout: TIMEOUT_MS,
  timeout: TIMEOUT_MS,
});
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 760, height: 520 });
  await page.goto(`http://127.0.0.1:${server.address().port}/`, { timeout: TIMEOUT_MS });
  await page.waitForFunction("window.isReady || window.failure", { timeout: TIMEOUT_MS });
  await page.setOfflineMode(true);
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  await page.evaluate((question) => {
    document.querySelector("input").value = question;
    document.querySelector("button").click();
  }, options.question);
  await page.waitForFunction("window.result || window.failure", { timeout: TIMEOUT_MS });
  await page.screenshot({ path: options.screenshot });
  const [result, failure, status] = await page.evaluate(() => [
    window.result,
    window.failure,
    document.querySelector("[role=status]").textContent,
  ]);
  console.log(JSON.stringify({ question: options.question, status, ...result, failure, requests }));
  const expected = options["expect-tokens"];
  const isOther = expected !== undefined && expected !== result?.answer.join(",");
  if (isOther) {
    console.error(`solve.mjs: expected the tokens ${expected}`);
  }
  process.exitCode = failure || requests.length > 0 || isOther ? 1 : 0;
} finally {
  await browser.close();
  server.close();
}
