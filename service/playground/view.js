// The answer on the page. Every text goes in as a text node: nothing that was pasted is ever read as HTML.

import { runs, scale } from "./text.js";
import { timings } from "./request.js";

const HEATED = 20_000; // runs of one answer: more would make the page slow, so they are shown without scores
const byId = (id) => document.getElementById(id);
const number = (n) => n.toLocaleString("en");
const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
const milliseconds = (ms) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

/** An element with a class and children that are nodes or texts. */
export function element(tag, name, ...children) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children);
  return made;
}

/** Tokens, time and cache, and the one sentence that screen readers are told. */
export function showFigures(answer, took, header) {
  const { tokens_in, tokens_out, rate, segments, cache_hits, compute_ms } = answer.usage;
  byId("tokens-in").textContent = number(tokens_in);
  byId("tokens-out").textContent = number(tokens_out);
  byId("kept").textContent = percent(rate);
  byId("time").textContent = milliseconds(took);
  const cache = answer.model ? `${number(cache_hits)}/${number(segments)}` : "no model";
  byId("cache").textContent = cache;
  const stages = timings(header).map(([name, ms]) => `${name} ${ms.toFixed(1)}`);
  const { name, revision, profile } = answer.model ?? {};
  const model = answer.model ? `${name} revision ${revision}, ${profile}` : answer.recipe;
  byId("timing").textContent = `${model}, tokens of ${answer.reader}, computed in ${compute_ms.toFixed(1)} ms. ` +
    (stages.length ? `Server timing in ms: ${stages.join(" · ")}` : "");
  const source = answer.model ? `${cache_hits} of ${segments} segments from the cache` : "no model ran";
  byId("status").textContent =
    `${number(tokens_out)} of ${number(tokens_in)} tokens kept, ${percent(rate)}, in ${milliseconds(took)}; ${source}.`;
  byId("warnings").replaceChildren(...answer.warnings.map((text) => element("li", "", text)));
}

/** The documents with what of them is kept; `view` is place, scores or kept. */
export function showDocuments(texts, answer, view) {
  const plain = (d) => view === "kept" || (d.text && !d.spans?.length); // coded text has no place in the source
  const cut = (range) => answer.documents.map((d, i) => plain(d) ? [] : runs(texts[i], d.spans ?? [], d.scores, range));
  const range = view === "scores" ? scale(answer.documents) : null;
  let found = cut(range);
  const heated = range && found.reduce((sum, own) => sum + own.length, 0) <= HEATED;
  if (range && !heated) found = cut(null);
  byId("legend").hidden = !heated;
  byId("low").textContent = range?.low.toFixed(2) ?? "";
  byId("high").textContent = range?.high.toFixed(2) ?? "";
  const bodies = answer.documents.map((d, i) => (plain(d) ? keptOnly(d) : found[i].map(painted)));
  byId("articles").className = range && !heated ? "place" : view;
  byId("articles").replaceChildren(...answer.documents.map((d, i) => article(d, bodies[i])));
}

const keptOnly = (d) => [d.text ? element("mark", "", d.text) : element("em", "", "nothing kept")];

function painted({ text, kept, level }) {
  return element(kept ? "mark" : "span", level === null ? "" : `h${level}`, text);
}

function article(d, body) {
  const facts = [`${number(d.tokens_out)} of ${number(d.tokens_in)} tokens`];
  if (d.score != null) facts.push(`relevance ${d.score.toFixed(2)}`);
  const head = element("h2", "", `Document ${d.id} `, element("small", "", facts.join(" · ")));
  return element("article", d.tokens_out ? "" : "dropped", head, element("p", "", ...body));
}

/** A failure: its message for people, the rest of its one shape for whoever reads the log. */
export function showError(refused) {
  const { message, type, code, param, request_id } = refused.detail;
  const facts = Object.entries({ status: refused.status, type, code, param, request: request_id });
  const text = `${message[0].toUpperCase()}${message.slice(1)}${/[.?!]$/.test(message) ? "" : "."}`;
  const wait = refused.wait ? ` Come back in ${refused.wait} s.` : "";
  const told = facts.filter(([, value]) => value != null);
  const line = told.flatMap(([name, value]) => [`${name} `, element("code", "", String(value)), " "]);
  byId("error").replaceChildren(element("p", "", text + wait), element("p", "help", ...line));
}

export function clearError() {
  byId("error").replaceChildren();
}

/** Forget the last answer: what is shown must never be of another request. */
export function clearAnswer(note) {
  for (const id of ["tokens-in", "tokens-out", "kept", "time", "cache"]) byId(id).textContent = "–";
  byId("timing").textContent = "";
  byId("status").textContent = note;
  byId("warnings").replaceChildren();
  byId("legend").hidden = true;
  byId("articles").replaceChildren(...(note ? [element("p", "help", note)] : []));
}
