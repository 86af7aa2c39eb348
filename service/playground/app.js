// The page at work: what is typed becomes a request, the newest one wins, and its answer is shown.

import { Refused, ask, bodyOf, curl } from "./request.js";
import { SAMPLE } from "./sample.js";
import { fragment, isState, restored } from "./state.js";
import { split } from "./text.js";
import { clearAnswer, clearError, element, showDocuments, showError, showFigures } from "./view.js";

const TYPING = 300, SLIDING = 40; // milliseconds of quiet before a request goes out
const KEY = "laconic-key"; // in sessionStorage: gone with the tab
const FIELDS = ["question", "documents", "recipe", "unit", "reader", "kind"];
const SLIDERS = {
  rate: { min: 0.01, max: 1, step: 0.01, start: 0.3, show: (v) => `${Math.round(100 * v)} %` },
  tokens: { min: 1, max: 1000, step: 1, start: 200, show: (v) => `${v.toLocaleString("en")} tokens` },
  threshold: { min: 0, max: 1, step: 0.01, start: 0.5, show: (v) => v.toFixed(2) },
  recall: { min: 0.5, max: 1, step: 0.01, start: 0.9, show: (v) => `${Math.round(100 * v)} %` },
};
const CONTROLS = { // which control a refusal is about, by the first part of its `param`
  query: "question", documents: "documents", recipe: "recipe", model: "recipe", unit: "unit", reader: "reader",
  budget: "value",
};

const byId = (id) => document.getElementById(id);
const key = () => byId("key").value.trim();
const needed = {}; // models that recipes need by name
let recipes = []; // the service's table
let timer = 0, current = null, last = null; // the last answer with the texts it is about

function form() {
  const found = Object.fromEntries(FIELDS.map((f) => [f, byId(f).value]));
  return { ...found, value: Number(byId("value").value), view: document.querySelector("[name=view]:checked").value };
}

function fill(given) {
  for (const f of FIELDS) if (f in given) choose(byId(f), given[f]);
  if ("value" in given || "kind" in given) setSlider(given.value);
  for (const view of document.getElementsByName("view")) view.checked ||= view.value === given.view;
}

/** Set a control. A recipe that is not listed is added: the list may come later, or the service says what is wrong. */
function choose(control, value) {
  const offered = control.tagName !== "SELECT" || [...control.options].some((o) => o.value === value);
  if (!offered && control.id !== "recipe") return;
  if (!offered) control.append(new Option(value));
  control.value = value;
}

function setSlider(value) {
  const { min, max, step, start } = SLIDERS[byId("kind").value];
  const most = byId("kind").value === "tokens" ? Math.max(last?.answer.usage.tokens_in ?? max, value ?? 1) : max;
  Object.assign(byId("value"), { min, max: most, step });
  byId("value").value = value ?? start;
  showBudget();
}

function showBudget() {
  const { kind, value } = form();
  byId("shown").textContent = SLIDERS[kind].show(value);
  byId("value").setAttribute("aria-valuetext", `${SLIDERS[kind].show(value)}, ${byId("kind").selectedOptions[0].text}`);
}

function request() {
  const state = form();
  return bodyOf(state, split(state.documents), needed[state.recipe]);
}

/** What is shown is out of date from now on, and asked anew after so much quiet. */
function soon(milliseconds) {
  clearTimeout(timer);
  current?.abort();
  busy(true);
  timer = setTimeout(run, milliseconds);
}

/** Ask for what the form says now; whatever was asked before is given up, here and in the service. */
async function run() {
  clearTimeout(timer);
  current?.abort();
  const mine = (current = new AbortController());
  const body = request(), texts = body.documents.map((d) => d.text);
  byId("documents-count").textContent = texts.length === 1 ? "1 document." : `${texts.length} documents.`;
  showCurl();
  keepLink();
  if (!texts.length) return forget("Paste a document to begin.");
  busy(true);
  try {
    const began = performance.now();
    const { found, headers } = await ask("v1/compress", key(), { body, signal: mine.signal });
    if (!mine.signal.aborted) show(texts, found, performance.now() - began, headers.get("server-timing"));
  } catch (error) {
    if (!mine.signal.aborted) fail(error);
  }
}

const busy = (yes) => byId("articles").setAttribute("aria-busy", String(yes));

function show(texts, answer, took, header) {
  last = { texts, answer };
  busy(false);
  clearError();
  mark(null);
  if (byId("kind").value === "tokens") setSlider(form().value);
  showFigures(answer, took, header);
  showDocuments(texts, answer, form().view);
}

function forget(note) {
  last = null;
  clearError();
  mark(null);
  busy(false);
  clearAnswer(note);
}

function fail(error) {
  if (!(error instanceof Refused)) throw error;
  last = null;
  busy(false);
  clearAnswer("");
  showError(error);
  mark(CONTROLS[(error.detail.param ?? "").split(".")[0]]);
  if (error.status === 401 || error.status === 403) byId("access").open = true;
  if (error.detail.code === "not_ready" && error.wait) soon(1000 * error.wait); // a model that is still loading
}

/** Say which control a failure is about. */
function mark(id) {
  for (const name of Object.values(CONTROLS)) byId(name).toggleAttribute("aria-invalid", false);
  if (id) byId(id).setAttribute("aria-invalid", "true");
}

function showCurl() {
  if (!byId("request").open) return;
  byId("curl").textContent = curl(request(), Boolean(key()));
  byId("curl-help").textContent = key() ? "Put the key into LACONIC_API_KEY." : "For a POSIX shell.";
}

/** A link that was made stays true while the form changes. */
async function keepLink() {
  if (!isState(location.hash)) return;
  history.replaceState(null, "", (await fragment(form())) ?? location.pathname + location.search);
}

async function copyLink() {
  const found = await fragment(form());
  if (!found) return tell("Too long for a link.");
  history.replaceState(null, "", found);
  await copy(location.href, "Link copied.");
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    tell(done);
  } catch {
    tell(copied(text) ? done : "This browser does not let pages copy.");
  }
}

/** Without a secure context there is no clipboard API: copy from a field that is there for a moment. */
function copied(text) {
  const field = element("textarea", "quiet"), focused = document.activeElement;
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return done;
}

function tell(text) {
  byId("status").textContent = text;
  byId("toast").textContent = text;
  setTimeout(() => byId("toast").textContent === text && (byId("toast").textContent = ""), 3000);
}

/** Recipes and readers as this service has them; a recipe that lacks a model is listed and cannot be chosen. */
async function lists() {
  try {
    const [table, cards] = await Promise.all([ask("v1/recipes", key()), ask("v1/models", key())]);
    recipes = table.found.recipes;
    const models = cards.found.models.filter((m) => m.kind);
    offerRecipes(models);
    const readers = [...models.filter((m) => m.kind !== "soft").map((m) => m.name), "cl100k_base", "o200k_base"];
    byId("readers").replaceChildren(...readers.map((name) => new Option("", name)));
  } catch (error) {
    if (!(error instanceof Refused)) throw error; // the request itself will say it
  }
}

function offerRecipes(models) {
  const own = models.find((m) => m.default)?.kind, chosen = byId("recipe").value;
  const options = recipes.map(({ name, kind }) => {
    const model = kind && kind !== own ? models.find((m) => m.kind === kind) : null;
    if (model) needed[name] = model.name;
    const option = new Option(name);
    option.disabled = Boolean(kind) && kind !== own && !model;
    return option;
  });
  byId("recipe").replaceChildren(...options);
  choose(byId("recipe"), chosen);
  describe();
}

function describe() {
  const found = recipes.find((r) => r.name === byId("recipe").value);
  byId("unit").options[0].text = found ? `${found.unit} (default)` : "default";
  byId("recipe-help").textContent = found ? `${found.summary[0].toUpperCase()}${found.summary.slice(1)}.` : "";
}

function listen() {
  for (const id of ["question", "documents", "reader"]) byId(id).addEventListener("input", () => soon(TYPING));
  for (const id of ["recipe", "unit"]) byId(id).addEventListener("change", () => (describe(), soon(0)));
  byId("value").addEventListener("input", () => (showBudget(), soon(SLIDING)));
  byId("kind").addEventListener("change", () => (setSlider(), soon(0)));
  byId("key").addEventListener("change", () => (sessionStorage.setItem(KEY, key()), lists(), soon(0)));
  byId("form").addEventListener("submit", (event) => (event.preventDefault(), run()));
  byId("sample").addEventListener("click", () => (fill(SAMPLE), run()));
  byId("clear").addEventListener("click", clear);
  byId("link").addEventListener("click", copyLink);
  byId("request").addEventListener("toggle", showCurl);
  byId("copy").addEventListener("click", () => copy(byId("curl").textContent, "Curl copied."));
  for (const view of document.getElementsByName("view")) view.addEventListener("change", () => (look(), keepLink()));
  addEventListener("hashchange", follow);
}

function clear() {
  fill({ question: "", documents: "" });
  byId("documents").focus();
  run();
}

/** A link opened where the page already is. */
async function follow() {
  const found = await restored(location.hash);
  if (!found) return;
  fill(found);
  run();
}

function look() {
  if (last) showDocuments(last.texts, last.answer, form().view);
}

async function start() {
  byId("key").value = sessionStorage.getItem(KEY) ?? "";
  listen();
  fill({ ...SAMPLE, ...(await restored(location.hash)) });
  await lists();
  await run();
  ask("version").then(({ found }) => (byId("version").textContent = found.version), () => {}); // an ornament
}

start();
