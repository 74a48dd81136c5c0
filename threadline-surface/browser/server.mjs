// The demonstration of the example with its console, with more rows, and the addresses of all screens.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const workspace = fileURLToPath(new URL("../../", import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? `${workspace}target`;
const program = process.env.DEMO ?? `${target}/debug/saas-xtask`;

/** A text that tries to leave every context of HTML. */
export const HOSTILE = `"'><script>document.title='broken'</script><b>\u202e{{7*7}} ${"long".repeat(60)}`;

/** Starts the demonstration. `stop` ends it. */
export async function startServer() {
  const { DATABASE_URL, ...env } = process.env;
  const child = spawn(program, ["demo", "--serve"], { cwd: workspace, env, stdio: ["ignore", "pipe", "inherit"] });
  const printed = [];
  const found = {};
  for await (const line of createInterface({ input: child.stdout })) {
    printed.push(line);
    const [, name, value] = line.match(/^ {2}(console|admin|support|incident|history) +(\S+)/) ?? [];
    if (name) found[name] = value;
    if (found.history) break;
  }
  if (!found.history) throw new Error(`the demonstration ended:\n${printed.join("\n")}`);
  child.stdout.resume();
  const stop = async () => {
    child.kill("SIGINT");
    await once(child, "exit");
  };
  const origin = new URL(found.console).origin;
  try {
    const addInvoice = await addRows(origin);
    await addWork(origin, found);
    return { origin, base: found.console, ...found, addInvoice, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Adds an organization with 40 invoices, one of them with hostile texts. Returns a function that adds one more. */
async function addRows(origin) {
  const send = async (path, body, token) => {
    const headers = { "content-type": "application/json" };
    if (token) headers.authorization = `Bearer ${token}`;
    const answer = await fetch(origin + path, { method: "POST", headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const member = { handle: "carol", name: "Carol", email: "carol@globex.example", password: "carol's secret" };
  await send("/organizations", { organization: "Globex", member });
  const { token } = await send("/login", member);
  const addInvoice = (customer, cents = 100) => {
    const lines = [{ description: customer, amount_cents: cents }];
    return send("/invoices", { customer, due_on: "2027-01-31", lines }, token);
  };
  for (let number = 1; number <= 40; number += 1) {
    await addInvoice(number === 40 ? HOSTILE : `Customer ${number}`, number * 100);
  }
  return addInvoice;
}

/** Saves a view, queues an export, a schedule and a check, and waits until the worker has run them. */
async function addWork(origin, { console: base, admin }) {
  const headers = { cookie: `staff=${admin}`, origin, "content-type": "application/x-www-form-urlencoded" };
  const send = async (path, fields) => {
    const body = new URLSearchParams(fields);
    const answer = await fetch(base + path, { method: "POST", headers, body, redirect: "manual" });
    if (answer.status !== 303) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  };
  await send("/views", { name: "Changed invoices", shared: "true", table: "invoices", op: "update" });
  await send("/exports", { table: "invoices", file: "csv", gzip: "true" });
  await send("/exports/schedules", { name: "weekly-invoices", cron: "0 6 * * MON", table: "invoices", file: "csv" });
  await send("/evidence/check", { check: "coverage" });
  const read = async (path) => (await fetch(base + path, { headers })).json();
  for (let attempt = 0; attempt < 60; attempt += 1) {
    const { jobs } = await read("/exports?format=json");
    const { records } = await read("/evidence?format=json");
    if (jobs.every(({ state }) => state === "completed") && records.length > 0) return;
    await new Promise((resolve) => { setTimeout(resolve, 500); });
  }
  throw new Error("the worker did not run the jobs");
}

/** The addresses of all screens by name, for the rows of the demonstration; of some, if SCREENS lists names. */
export async function screens({ base, admin, incident, history }) {
  const read = async (path) => {
    const answer = await fetch(`${base}${path}`, { headers: { cookie: `staff=${admin}` } });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const { entries: [{ change }] } = await read("/timeline?table=invoices&op=update&limit=1&format=json");
  const { entries: [{ change: inserted }] } = await read("/timeline?table=invoices&key=2&op=insert&format=json");
  const { entries: [{ change: hostile }] } = await read("/timeline?table=invoices&actor=user:carol&limit=1&format=json");
  const { records: [{ order_id: evidence }] } = await read("/evidence?format=json");
  const all = {
    start: "/",
    find: "/find?q=order-70",
    timeline: "/timeline",
    "timeline-filtered": "/timeline?table=invoices&op=update&from=-24h",
    "timeline-unattributed": "/timeline?unattributed=true",
    "timeline-by-table": "/timeline?by=table&volume=true",
    "timeline-by-actor": "/timeline?by=actor&volume=true",
    "timeline-by-table-time": "/timeline?by=table-time&volume=true",
    "timeline-by-actor-time": "/timeline?by=actor-time&volume=true",
    "timeline-empty": "/timeline?table=invoice",
    change: `/changes?id=${change.id}`,
    "change-hostile": `/changes?id=${hostile.id}`,
    transaction: incident.slice(base.length),
    row: "/rows?table=invoices&key=2",
    "row-redacted": history.slice(base.length),
    "row-compared": `/rows?table=invoices&key=2&a=${inserted.captured_at}&b=now`,
    actor: "/actors?actor=user:alice",
    "actor-without-records": "/actors?actor=user:nobody",
    correlation: "/correlations?correlation=order-7002",
    actions: "/actions",
    views: "/views",
    coverage: "/coverage",
    redaction: "/redaction",
    retention: "/retention",
    "retention-plan": "/retention/plan",
    "retention-runs": "/retention/runs",
    evidence: "/evidence",
    "evidence-record": `/evidence/record?id=${evidence}`,
    "evidence-history": "/evidence/history?subject=trigger_coverage",
    exports: "/exports",
    "export-form": "/exports/new?table=invoices&op=update",
    schedules: "/exports/schedules",
    "schedule-form": "/exports/schedules/new?table=invoices",
    "report-form": "/report",
    report: `/report?transaction=${new URL(incident).searchParams.get("id")}`,
    preferences: "/preferences",
    help: "/help",
  };
  const chosen = process.env.SCREENS?.split(",") ?? Object.keys(all);
  return Object.fromEntries(chosen.map((name) => [name, all[name]]));
}
