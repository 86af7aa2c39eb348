// Documents, and how they are cut for showing. The service counts offsets in code points, strings here in UTF-16.

/** The documents of one field: lines of three or more hyphens stand between them. */
export function split(source) {
  return source.split(/^[ \t]*-{3,}[ \t]*$/m).map((text) => text.trim()).filter(Boolean);
}

/** Where each code point starts in the string, its length last; null where the two counts agree. */
export function starts(text) {
  if (!/[\ud800-\udbff][\udc00-\udfff]/.test(text)) return null;
  const found = [];
  let at = 0;
  for (const point of text) {
    found.push(at);
    at += point.length;
  }
  found.push(at);
  return found;
}

/** The least and the greatest score of an answer's documents, or null where there is none. */
export function scale(documents) {
  let low = Infinity, high = -Infinity;
  for (const { scores = [] } of documents) {
    for (const [, , score] of scores) {
      low = Math.min(low, score);
      high = Math.max(high, score);
    }
  }
  return low <= high ? { low, high } : null;
}

/** A text cut into runs that look alike: kept or not, and (given a range) the tenth of the range their score is in. */
export function runs(text, spans, scores = [], range = null) {
  const at = starts(text);
  const slice = (a, b) => (at ? text.slice(at[a], at[b]) : text.slice(a, b));
  const units = range ? scores : [];
  const found = [];
  let span = 0, unit = 0;
  for (const [a, b] of pairs(cuts(at ? at.length - 1 : text.length, spans, units))) {
    while (span < spans.length && spans[span][1] <= a) span++;
    while (unit < units.length && units[unit][1] <= a) unit++;
    const kept = span < spans.length && spans[span][0] <= a;
    const scored = unit < units.length && units[unit][0] <= a;
    add(found, { text: slice(a, b), kept, level: scored ? tenth(units[unit][2], range) : null });
  }
  return found;
}

function cuts(length, spans, units) {
  const found = new Set([0, length]);
  for (const [a, b] of spans) found.add(a).add(b);
  for (const [a, b] of units) found.add(a).add(b);
  return [...found].sort((a, b) => a - b);
}

function* pairs(numbers) {
  for (let i = 1; i < numbers.length; i++) yield [numbers[i - 1], numbers[i]];
}

/** Append a run, or lengthen the last one: white space between units looks like what is before it. */
function add(found, run) {
  const last = found.at(-1);
  const blank = run.level === null && !run.text.trim();
  if (last && last.kept === run.kept && (blank || last.level === run.level)) last.text += run.text;
  else found.push(run);
}

function tenth(score, { low, high }) {
  return high > low ? Math.min(9, Math.floor((10 * (score - low)) / (high - low))) : 5;
}
