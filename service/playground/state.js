// The form as a fragment of the address: after the `#`, where no browser sends it to a server.

const LONGEST = 32_000; // characters of a link that chats and mail programs still carry whole
const MOST = 2_000_000; // bytes a fragment may unpack to: a short link could stand for gigabytes
const FIELDS = {
  question: "string", documents: "string", recipe: "string", unit: "string", reader: "string", kind: "string",
  value: "number", view: "string",
};

/** `#z…` (deflated) or, in browsers that cannot, `#j…`; null where it would be too long. */
export async function fragment(form) {
  const bytes = new TextEncoder().encode(JSON.stringify(form));
  const packs = "CompressionStream" in window;
  const packed = packs ? await collect(bytes, new CompressionStream("deflate-raw"), MOST) : bytes;
  const found = `#${packs ? "z" : "j"}${base64(packed)}`;
  return found.length <= LONGEST ? found : null;
}

/** Whether a fragment may be one of ours: others name places on the page. */
export const isState = (hash) => /^#[zj][\w-]+$/.test(hash);

/** The form a fragment stands for: known fields of the right type only; null for anything that is not one. */
export async function restored(hash) {
  if (!isState(hash) || hash.length > LONGEST) return null;
  try {
    const binary = atob(hash.slice(2).replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (c) => c.charCodeAt(0));
    const plain = hash[1] === "z" ? await collect(bytes, new DecompressionStream("deflate-raw"), MOST) : bytes;
    const form = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(plain));
    const known = Object.keys(FIELDS).filter((f) => typeof form?.[f] === FIELDS[f]);
    return Object.fromEntries(known.map((f) => [f, form[f]]));
  } catch {
    return null;
  }
}

async function collect(bytes, through, most) {
  const parts = [];
  let size = 0;
  for (const reader = new Blob([bytes]).stream().pipeThrough(through).getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Uint8Array(await new Blob(parts).arrayBuffer());
    if ((size += value.length) > most) {
      await reader.cancel();
      throw new RangeError("too much");
    }
    parts.push(value);
  }
}

function base64(bytes) {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
