// What goes to the service and what comes back. Addresses are relative: the page also works below a proxy's path.

/** A failure in the service's one shape, with its HTTP status and the seconds it says to wait. */
export class Refused extends Error {
  constructor(detail, status = null, wait = null) {
    super(detail.message);
    Object.assign(this, { detail, status, wait });
  }
}

/** The body of `POST /v1/compress` for what the form says; `model` where the recipe's own kind needs one by name. */
export function bodyOf(form, documents, model = null) {
  const body = form.question.trim() ? { query: form.question } : {};
  body.documents = documents.map((text, i) => ({ id: String(i + 1), text }));
  body.recipe = form.recipe;
  if (model) body.model = model;
  if (form.unit) body.unit = form.unit;
  if (form.reader.trim()) body.reader = form.reader.trim();
  body.budget = { [form.kind]: form.value };
  body.return = ["text", "spans", "scores"];
  return body;
}

/** JSON from the service and its answer's headers; raises Refused, or AbortError when `signal` says so. */
export async function ask(path, key, { body, signal } = {}) {
  const headers = { accept: "application/json" };
  if (body) headers["content-type"] = "application/json";
  if (key) headers.authorization = `Bearer ${key}`;
  let response, found;
  try {
    const content = body && JSON.stringify(body);
    response = await fetch(path, { method: body ? "POST" : "GET", headers, body: content, signal });
    found = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw response ? unreadable(response.status) : unreachable();
  }
  if (response.ok) return { found, headers: response.headers };
  const wait = response.headers.get("retry-after");
  throw found?.error?.message ? new Refused(found.error, response.status, wait) : unreadable(response.status);
}

function unreachable() {
  const message = "the service does not answer";
  return new Refused({ type: "unavailable", code: "unreachable", message, param: null, request_id: null });
}

function unreadable(status) {
  const message = "the answer is not the service's: is there a proxy in between?";
  return new Refused({ type: "unavailable", code: "not_json", message, param: null, request_id: null }, status);
}

/** `Server-Timing` as [name, milliseconds] pairs. */
export function timings(header) {
  return [...(header ?? "").matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, ms]) => [name, Number(ms)]);
}

/** The same request for a shell. The body is a quoted here-document: no text in it needs escaping. */
export function curl(body, keyed) {
  const key = keyed ? ` \\\n  -H "authorization: Bearer $LACONIC_API_KEY"` : "";
  const address = quoted(new URL("v1/compress", document.baseURI).href);
  const json = JSON.stringify(body, null, 1); // JSON has no bare line breaks, so no line can be the delimiter alone
  const command = `curl -s ${address} -H 'content-type: application/json'${key}`;
  return `${command} \\\n  --data-binary @- <<'JSON'\n${json}\nJSON\n`;
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
