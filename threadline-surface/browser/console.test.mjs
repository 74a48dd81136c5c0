import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { open, overflows, signedIn, startBrowser } from "./browser.mjs";
import { screens, startServer } from "./server.mjs";

const axeSource = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const pictures = fileURLToPath(new URL("../../target/screenshots/", import.meta.url));
const tags = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"];
const COLD_PAGE_BYTES = 60 * 1024;

let server;
let browser;
let paths;

before(async () => {
  await mkdir(pictures, { recursive: true });
  server = await startServer();
  browser = await startBrowser();
  paths = await screens(server);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Checks status, errors and width of every screen, and what `check` finds, and reports all failures together. */
async function onEveryScreen(options, check = async () => []) {
  const { context, page, errors } = await signedIn(browser, server, server.admin, options);
  const failures = [];
  for (const [name, path] of Object.entries(paths)) {
    errors.length = 0;
    // Fewer than 60 requests of an operator in 10 seconds: without scripts, pages open faster.
    if (options.javaScriptEnabled === false) await page.waitForTimeout(200);
    const status = await open(page, server, path);
    if (status !== 200) failures.push(`${name}: status ${status}`);
    if (await page.title() === "broken") failures.push(`${name}: a value ran as a script`);
    const found = [...await overflows(page), ...await check(page, name), ...errors];
    failures.push(...found.map((failure) => `${name}: ${failure}`));
  }
  await context.close();
  if (failures.length) assert.fail(failures.join("\n"));
}

async function violations(page) {
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(
    (values) => globalThis.axe.run({ runOnly: { type: "tag", values }, rules: { "target-size": { enabled: true } } }),
    tags,
  );
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, any, all }) => `${id}: ${html.slice(0, 120)}: ${[...any, ...all][0]?.message}`));
}

test("every screen of the navigation is tested", async () => {
  const { context, page } = await signedIn(browser, server, server.admin);
  await open(page, server, "/");
  const links = await page.$$eval("nav.screens a", (all) => all.map((link) => link.getAttribute("href")));
  const tested = new Set(Object.values(paths).map((path) => new URL(server.base + path).pathname.replace(/\/$/, "")));
  assert.deepEqual(links.filter((link) => !tested.has(link.replace(/\/$/, ""))), []);
  await context.close();
});

for (const colorScheme of ["light", "dark"]) {
  for (const width of [360, 1280]) {
    test(`every screen fits and is accessible at ${width} px in ${colorScheme} colours; screenshots`, () =>
      onEveryScreen({ colorScheme, viewport: { width, height: 800 } }, async (page, name) => {
        await page.screenshot({ path: `${pictures}${name}-${width}-${colorScheme}.png`, fullPage: true });
        return violations(page);
      }));
  }
}

test("every screen fits and is accessible at 320 px in forced colours", () =>
  onEveryScreen({ forcedColors: "active", viewport: { width: 320, height: 800 } }, violations));

for (const width of [320, 1280]) {
  test(`every screen fits ${width} px without script`, () =>
    onEveryScreen({ javaScriptEnabled: false, viewport: { width, height: 800 } }));
}

test("a broken page fails the accessibility check", async () => {
  const page = await browser.newPage();
  await page.setContent(`<html><body>
    <img src="data:,"><input><button></button><a href="#"></a>
    <p style="color: #aaa; background: #fff">too pale</p>
    <div><a href="#a" style="display: inline-block; width: 9px; height: 9px">a</a><a href="#b"
      style="display: inline-block; width: 9px; height: 9px">b</a></div>
  </body></html>`);
  const found = new Set((await violations(page)).map((violation) => violation.split(":")[0]));
  for (const rule of [
    "button-name", "color-contrast", "document-title", "html-has-lang", "image-alt", "label", "link-name", "target-size",
  ]) {
    assert.ok(found.has(rule), `${rule} is not found: ${[...found]}`);
  }
  await page.close();
});

test("the keys move between entries, pages and screens", async () => {
  const { context, page, errors } = await signedIn(browser, server, server.admin);
  const focused = () => page.evaluate(() => document.activeElement.closest("li, tr")?.dataset.id);
  const path = () => new URL(page.url()).pathname.slice(new URL(server.base).pathname.length);
  await open(page, server, "/timeline?limit=20");
  await page.keyboard.press("j");
  const first = await focused();
  await page.keyboard.press("j");
  const second = await focused();
  assert.ok(first && second && first !== second, `${first}, ${second}`);
  await page.keyboard.press("k");
  assert.equal(await focused(), first);

  const press = (key) => Promise.all([page.waitForNavigation(), page.keyboard.press(key)]);
  await press("]");
  assert.match(page.url(), /after=/);
  await press("[");
  assert.match(page.url(), /before=/);
  await page.keyboard.press("g");
  await press("a");
  assert.equal(path(), "/actions");
  await page.keyboard.press("g");
  await press("t");
  assert.equal(path(), "/timeline");
  await press("?");
  assert.equal(path(), "/help");

  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "find-box");
  await page.keyboard.type("/j?");
  assert.equal(await page.inputValue("#find-box"), "/j?");
  assert.deepEqual(errors, []);
  await context.close();
});

test("a pasted id, actor, row and time open their pages", async () => {
  const { context, page, errors } = await signedIn(browser, server, server.admin);
  const transaction = new URL(server.incident).searchParams.get("id");
  const change = new URL(paths.change, server.origin).searchParams.get("id");
  const pasted = [
    [transaction, "/transactions", { id: transaction }],
    [`  ${change}\n`, "/changes", { id: change }],
    ["user:alice", "/actors", { actor: "user:alice" }],
    ["invoices 2", "/rows", { table: "public.invoices", key: "2" }],
    ["2026-01-31T12:00:00Z", "/timeline", { from: "2026-01-31T11:55:00Z", to: "2026-01-31T12:05:00Z" }],
  ];
  for (const [text, path, parameters] of pasted) {
    await open(page, server, "/help");
    await page.keyboard.press("/");
    await page.evaluate((value) => {
      const data = new DataTransfer();
      data.setData("text/plain", value);
      const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
      if (document.activeElement.dispatchEvent(event)) document.execCommand("insertText", false, value);
    }, text);
    await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    const address = new URL(page.url());
    assert.equal(address.pathname, new URL(server.base).pathname + path, text);
    assert.deepEqual(Object.fromEntries(address.searchParams), parameters, text);
    assert.equal(await page.isVisible("h1"), true);
  }
  await open(page, server, "/help");
  await page.fill("#find-box", "user:nobody-here");
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  const text = await page.textContent("main");
  assert.ok(text.includes("Nothing found") && text.includes("there are no records of user:nobody-here"), text);
  assert.deepEqual(errors, []);
  await context.close();
});

test("following shows new changes behind a button, and 304 leaves the list alone", async () => {
  const { context, page, errors } = await signedIn(browser, server, server.admin);
  const polls = [];
  page.on("response", (answer) => { if (answer.url().includes("/parts/follow")) polls.push(answer.status()); });
  await open(page, server, "/timeline?follow=true");
  await page.waitForEvent("response", (answer) => answer.url().includes("/parts/follow") && answer.status() === 304);
  const before = await page.$$eval("#changes > li[data-id]", (all) => all.length);
  await server.addInvoice("Followed");
  await page.waitForSelector("#more:not([hidden])", { timeout: 15_000 });
  await page.click("#more");
  const after = await page.$$eval("#changes > li[data-id]:not([hidden])", (all) => all.length);
  assert.ok(after > before, `${before}, ${after}`);
  assert.ok(polls.every((status) => status === 200 || status === 304), polls.join());
  assert.deepEqual(errors, []);
  await context.close();
});

test("the tabulator reaches every control in order, with a visible focus", async () => {
  const { context, page } = await signedIn(browser, server, server.admin);
  await open(page, server, "/timeline?limit=2");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  const controls = await page.$$eval("a, button, input, select, summary, textarea", (all) =>
    all.filter((one) => one.checkVisibility() && one.type !== "hidden").length);
  for (let number = 1; number < controls; number += 1) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const { tagName, textContent } = document.activeElement;
      const { outlineStyle } = getComputedStyle(document.activeElement);
      return { name: `${tagName} ${textContent.slice(0, 40)}`, outlineStyle };
    });
    assert.notEqual(focus.outlineStyle, "none", focus.name);
  }
  await context.close();
});

test("print shows the answer without navigation and forms", async () => {
  const { context, page } = await signedIn(browser, server, server.admin);
  await open(page, server, paths.transaction);
  await page.emulateMedia({ media: "print" });
  assert.equal(await page.isVisible("nav.screens"), false);
  assert.equal(await page.isVisible("h1"), true);
  const file = await page.pdf({ format: "A4" });
  assert.ok(file.length > 1000);
  await context.close();
});

test("a cold page of 50 entries is small", async () => {
  const { context, page } = await signedIn(browser, server, server.admin);
  const requests = [];
  page.on("requestfinished", (request) => requests.push(request));
  await open(page, server, "/timeline?limit=50");
  let bytes = 0;
  for (const request of requests) {
    const { responseHeadersSize, responseBodySize } = await request.sizes();
    bytes += responseHeadersSize + responseBodySize;
  }
  console.log(`${bytes} bytes in ${requests.length} answers`);
  assert.ok(bytes <= COLD_PAGE_BYTES, `${bytes} bytes`);
  await context.close();
});

test("an export in the background is queued, becomes ready without a reload, and is downloaded", async () => {
  const { context, page, errors } = await signedIn(browser, server, server.admin);
  await open(page, server, "/timeline?table=invoices&op=update");
  await page.click(".downloads summary");
  await page.click(".downloads >> text=In the background");
  await page.selectOption("[name=file]", "ndjson");
  await page.click("form.stack button");
  const newest = page.locator("[aria-label=Exports] > li").first();
  assert.match(await newest.textContent(), /NDJSON/);
  const link = newest.locator("text=Download");
  await link.waitFor({ timeout: 30_000 });
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  assert.match(download.suggestedFilename(), /^invoices\.ndjson$/);
  const lines = (await readFile(await download.path(), "utf8")).trim().split("\n").map((line) => JSON.parse(line));
  assert.ok(lines.length > 0 && lines.every(({ op }) => op === "update"));
  assert.deepEqual(errors, []);
  await context.close();
});

test("a check that is requested on the evidence page is run by the worker", async () => {
  const { context, page } = await signedIn(browser, server, server.admin);
  await open(page, server, "/evidence");
  await page.click("[aria-label='Run the check continuity']");
  const result = page.locator("[aria-label=Evidence] tr", { hasText: "capture continuity" });
  for (let attempt = 0; attempt < 30 && await result.count() === 0; attempt += 1) {
    await page.waitForTimeout(500);
    await open(page, server, "/evidence");
  }
  assert.match(await result.textContent(), /Proven|Inferred|Unsupported/);
  await context.close();
});

test("support signs in by the form and sees its own organization", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(server.base);
  await page.fill("[name=token]", server.support);
  await page.click("button");
  await page.goto(`${server.base}/timeline`);
  const text = await page.textContent("body");
  assert.ok(text.includes("user:alice"));
  assert.ok(!text.includes("carol"));
  await context.close();
});
