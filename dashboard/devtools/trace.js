// What the panel knows without a browser: the trace of a response, and the call tree of a trace. Pure functions.

/** Returns the trace that the `Server-Timing` headers of a HAR entry name (`traceparent;desc="00-<trace>-<span>-01"`). */
export function traceOf(entry) {
  for (const { name, value } of entry.response?.headers ?? []) {
    if (name.toLowerCase() !== "server-timing") continue;
    const found = /(?:^|[,\s])traceparent\s*;\s*desc\s*=\s*"?[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/i.exec(value);
    if (found && !/^0+$/.test(found[1])) return found[1].toLowerCase();
  }
  return null;
}

const text = (attributes, key) => attributes?.find((one) => one.key === key)?.value?.stringValue;
const nanos = (time) => BigInt(time ?? 0);

/** Returns the spans of OTLP JSON as rows, each call below its caller: depth, times in milliseconds since the first. */
export function rowsOf(trace) {
  const spans = (trace.resourceSpans ?? []).flatMap(({ resource, scopeSpans }) => (scopeSpans ?? []).flatMap(({ spans }) => (spans ?? []).map((span) => ({
    id: span.spanId, parent: span.parentSpanId, name: span.name, service: text(resource?.attributes, "service.name") ?? "",
    start: nanos(span.startTimeUnixNano), end: nanos(span.endTimeUnixNano), isWrong: span.status?.code === 2,
    circuit: text(span.attributes, "circuit_breaker.name"), state: text(span.attributes, "circuit_breaker.state"), outcome: text(span.attributes, "circuit_breaker.outcome"),
  }))));
  if (!spans.length) return { rows: [], length: 0 };
  const first = spans.reduce((least, { start }) => (start < least ? start : least), spans[0].start);
  const last = spans.reduce((most, { end }) => (end > most ? end : most), spans[0].end);
  const below = new Map(), known = new Set(spans.map(({ id }) => id));
  for (const span of spans) { const caller = known.has(span.parent) && span.parent !== span.id ? span.parent : ""; if (!below.has(caller)) below.set(caller, []); below.get(caller).push(span); }
  for (const calls of below.values()) calls.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  const rows = [], seen = new Set(), waiting = (below.get("") ?? []).map((span) => [span, 0]).reverse();
  const ms = (time) => Number(time) / 1e6;
  const take = () => {
    while (waiting.length) {
      const [span, depth] = waiting.pop();
      if (seen.has(span)) continue;
      seen.add(span);
      rows.push({ ...span, depth, at: ms(span.start - first), took: ms(span.end - span.start) });
      for (const call of (below.get(span.id) ?? []).toReversed()) waiting.push([call, depth + 1]);
      // Once: other spans with the same id, which only a forged trace has, would list all of them again.
      below.delete(span.id);
    }
  };
  take();
  // Spans whose parents form a circle have no first one: each is shown nevertheless.
  for (const span of spans) if (!seen.has(span)) { waiting.push([span, 0]); take(); }
  return { rows, length: ms(last - first) };
}

/** Spells milliseconds in as few digits as tell them apart. */
export function spell(ms) {
  if (ms >= 1000) return `${(ms / 1000).toPrecision(3)} s`;
  if (ms >= 1) return `${ms.toPrecision(3)} ms`;
  return `${Math.round(ms * 1000)} µs`;
}
