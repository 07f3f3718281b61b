// One stream of server-sent events for all that is on the screen. Pages subscribe to paths of the
// API; the stream is opened anew when the set of paths changes, and closed while the tab is hidden.
import { check, get, query } from './api.js';

const PATHS_MAX = 8;
const INTERVAL_MS = 2000;
const STALE_MS = 25000;
const RETRY_MS = 3000;
const LASTED_MS = 10000;

const subscribers = new Map();
// what the open stream has said of each path; it says it again only when it differs
const said = new Map();
let source = null, opened = '', timer = 0, heard = 0, pings = false, wanted = true;

/**
 * Dispatches `change`; `status` is live, stale, paused or connecting, `since` when it was last
 * live.
 */
export const state = Object.assign(new EventTarget(), { status: 'connecting', since: Date.now() });
function become(status) {
  if (status === 'live') state.since = Date.now();
  if (state.status === status) return;
  state.status = status;
  state.dispatchEvent(new Event('change'));
}

/** Calls `receive({ status, body })` now and whenever what GET of `path` answers has changed. */
export function subscribe(path, receive) {
  if (!subscribers.has(path)) subscribers.set(path, { receivers: new Set(), last: said.get(path) ?? null });
  const entry = subscribers.get(path);
  entry.receivers.add(receive);
  if (entry.last) queueMicrotask(() => entry.receivers.has(receive) && receive(entry.last));
  plan();
  return () => {
    entry.receivers.delete(receive);
    if (!entry.receivers.size) {
      subscribers.delete(path);
      plan();
    }
  };
}

/** Stops for good: nobody is logged in. */
export function end() {
  subscribers.clear();
  clearTimeout(timer);
  shut();
}

/** Stops or goes on, as the person likes. */
export function pause(stop) {
  wanted = !stop;
  plan();
}

function plan() {
  clearTimeout(timer);
  timer = setTimeout(open, 30);
}

function deliver(path, update) {
  said.set(path, update);
  const entry = subscribers.get(path);
  if (!entry) return;
  entry.last = update;
  for (const receive of entry.receivers) receive(update);
}

function shut() {
  source?.close();
  source = null;
  opened = '';
  said.clear();
}

function open() {
  const paths = [...subscribers.keys()].slice(-PATHS_MAX).sort();
  if (!wanted || document.hidden || !paths.length) {
    shut();
    if (!wanted) {
      become('paused');
      pollOnce(paths.filter((path) => !subscribers.get(path).last));
    }
    return;
  }
  const address =
    `api/stream?${paths.map((p) => `path=${encodeURIComponent(p)}`).join('&')}&interval=${INTERVAL_MS}`;
  if (address === opened && source && source.readyState !== EventSource.CLOSED) return;
  shut();
  opened = address;
  const began = Date.now();
  const mine = (source = new EventSource(address));
  mine.addEventListener('update', (event) => {
    if (source !== mine) return;
    heard = Date.now();
    become('live');
    const { path, status, body } = JSON.parse(event.data);
    deliver(path, { status, body });
  });
  mine.addEventListener('ping', () => {
    pings = true;
    heard = Date.now();
    become('live');
  });
  mine.addEventListener('open', () => {
    heard = Date.now();
    become('live');
  });
  mine.addEventListener('error', () => {
    if (source !== mine) return;
    if (Date.now() - began > LASTED_MS) {
      // the broker ends every connection after some minutes
      shut();
      open();
      return;
    }
    become('stale');
    shut();
    check().then((who) => (who ? pollOnce(paths) : null)).finally(() => {
      clearTimeout(timer);
      timer = setTimeout(open, RETRY_MS);
    });
  });
}

/** Where streams do not get through (a proxy that keeps them back), plain requests do. */
async function pollOnce(paths) {
  for (const path of paths) {
    try {
      deliver(path, { status: 200, body: await get(path) });
      if (wanted) become('live');
    } catch (e) {
      if (e.status) deliver(path, { status: e.status, body: { reason: e.message } });
    }
  }
}

document.addEventListener('visibilitychange', plan);
setInterval(() => {
  if (source && pings && Date.now() - heard > STALE_MS) {
    become('stale');
    shut();
    plan();
  }
  if (state.status === 'stale') state.dispatchEvent(new Event('change'));
}, 1000);

/** The query that asks for samples of `range` ms beside the numbers. */
export function samples(path, rangeMs, kinds = ['lengths', 'msg_rates', 'data_rates']) {
  const age = rangeMs / 1000;
  const step = age <= 600 ? 5 : age <= 3600 ? 60 : 240;
  return query(path, Object.fromEntries(kinds.flatMap(
        (kind) => [[`${kind}_age`, age], [`${kind}_incr`, step]])));
}
