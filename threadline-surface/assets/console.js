// Every page works without this script.
(() => {
  "use strict";
  const policy = window.trustedTypes
    ? trustedTypes.createPolicy("threadline", { createHTML: (text) => text })
    : { createHTML: (text) => text };
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { document.getElementById("status").textContent = text; };

  const showCopy = (root) => {
    if (navigator.clipboard) all("[data-copy]", root).forEach((button) => { button.hidden = false; });
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    navigator.clipboard.writeText(button.dataset.copy).then(
      () => { say("Copied"); button.textContent = "copied"; setTimeout(() => { button.textContent = "copy"; }, 1500); },
      () => say("The browser did not allow copying"),
    );
  });

  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const words = new Intl.RelativeTimeFormat("en");
  const hint = (root) => all("time[datetime]", root).forEach((time) => {
    const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
    const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) || units[3];
    time.title = words.format(Math.round(seconds / size), unit);
  });

  // Keys: [data-key], j and k, g and a letter.
  const screens = { s: "", t: "/timeline", a: "/actions", c: "/coverage", r: "/redaction", e: "/retention", v: "/evidence", x: "/exports" };
  let pending = 0;
  document.addEventListener("keydown", (event) => {
    if (document.body.dataset.keys === "off" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, [contenteditable]")) return;
    const base = document.body.dataset.base;
    if (pending && Date.now() - pending < 1500 && event.key in screens) {
      const link = all("nav.screens a").find((a) => a.getAttribute("href") === (base + screens[event.key] || "/"));
      if (link) { event.preventDefault(); link.click(); }
      pending = 0;
      return;
    }
    pending = event.key === "g" ? Date.now() : 0;
    if (event.key === "j" || event.key === "k") {
      const rows = all(".entries > li, tbody tr").filter((row) => row.checkVisibility() && row.querySelector("a"));
      const at = rows.indexOf(document.activeElement.closest(".entries > li, tbody tr"));
      const next = rows[event.key === "j" || at < 0 ? at + 1 : at - 1];
      if (next) { event.preventDefault(); next.querySelector("a").focus(); }
      return;
    }
    const target = all("[data-key]").find((element) => element.dataset.key === event.key);
    if (!target) return;
    event.preventDefault();
    if (target.matches("input")) target.focus(); else target.click();
  });

  // Slider: picks one of the data-stops of its form for a field.
  document.addEventListener("input", ({ target: slider }) => {
    if (slider.type !== "range") return;
    const field = document.getElementById(slider.dataset.field);
    slider.ariaValueText = field.value = slider.form.dataset.stops.split(" ")[slider.value];
  });

  // Fragments: [data-fragment=address] is loaded, and again every data-poll seconds unless paused. Failures
  // keep the last answer.
  const load = async (part) => {
    try {
      const answer = await fetch(part.dataset.fragment, { headers: { "if-none-match": part.dataset.tag || "" } });
      if (answer.status !== 304) {
        if (!answer.ok) throw new Error(answer.status);
        part.dataset.tag = answer.headers.get("etag") || "";
        const next = document.createElement("template");
        next.innerHTML = policy.createHTML(await answer.text());
        if (part.dataset.mode === "prepend") prepend(part, next.content); else part.replaceChildren(next.content);
        enhance(part);
      }
      part.dataset.loaded = Date.now();
      delete part.dataset.stale;
    } catch {
      part.dataset.stale = part.dataset.loaded || "";
      if (part.dataset.loaded) {
        const age = Math.round((Date.now() - part.dataset.loaded) / 1000);
        say(`The last answer is ${age} seconds old`);
      }
    }
  };

  // Follow: new entries wait behind a button; known ids are dropped.
  const prepend = (list, content) => {
    const from = content.querySelector("[data-next]");
    if (from) list.dataset.fragment = from.dataset.next;
    const known = new Set(all("[data-id]", list).map((entry) => entry.dataset.id));
    const fresh = all("[data-id]", content).filter((entry) => !known.has(entry.dataset.id));
    if (!fresh.length) return;
    fresh.forEach((entry) => { entry.hidden = true; });
    list.prepend(...fresh);
    const waiting = all("[data-id][hidden]", list);
    const button = document.getElementById(list.dataset.more);
    if (!button) { waiting.forEach((entry) => { entry.hidden = false; }); return; }
    button.hidden = false;
    button.textContent = `${waiting.length} new change${waiting[1] ? "s" : ""}: show`;
    button.onclick = () => {
      waiting.forEach((entry) => { entry.hidden = false; });
      button.hidden = true;
      waiting[0].querySelector("a")?.focus();
    };
    say(button.textContent);
  };

  const poll = (part) => {
    const seconds = Number(part.dataset.poll);
    if (!seconds) return;
    setInterval(() => {
      if (!document.hidden && part.dataset.paused !== "yes") load(part);
    }, seconds * 1000);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-pause]");
    if (!button) return;
    const part = document.getElementById(button.dataset.pause);
    const isPaused = part.dataset.paused !== "yes";
    part.dataset.paused = isPaused ? "yes" : "";
    button.setAttribute("aria-pressed", isPaused);
  });

  const enhance = (root) => { showCopy(root); hint(root); all("[data-script]", root).forEach((one) => { one.hidden = false; }); };
  enhance(document);
  all("[data-fragment]").forEach((part) => { if (part.dataset.lazy !== "no") load(part); poll(part); });
})();
