// Chromium, and pages whose errors are collected.
import { chromium } from "playwright-core";

const flags = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** Starts Debian's Chromium with a new, empty profile. */
export const startBrowser = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: flags });

/** Opens a page that is signed in. `errors` lists violations, errors and requests to other hosts. */
export async function signedIn(browser, server, token, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  await context.addCookies([{ name: "staff", value: token, url: server.base }]);
  const page = await context.newPage();
  page.hasScript = options.javaScriptEnabled !== false;
  const errors = [];
  page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== server.origin) errors.push(`request to ${request.url()}`);
  });
  return { context, page, errors };
}

/** Opens an address of the console and waits for its fragments. */
export async function open(page, server, path) {
  const answer = await page.goto(server.base + (path === "/" ? "" : path));
  if (page.hasScript) {
    await page.waitForFunction(
      () => [...document.querySelectorAll("[data-fragment]:not([data-lazy=no])")].every((part) => part.dataset.loaded),
      undefined,
      { timeout: 10_000 },
    );
  }
  return answer.status();
}

/** The elements that are wider than the window, unless they scroll by themselves. */
export const overflows = (page) => page.evaluate(() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > width + 1 && !element.closest(".scroll, pre"))
    .map((element) => `${element.tagName}.${element.className}: ${element.textContent.trim().slice(0, 40)}`);
});
