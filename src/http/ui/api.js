// Requests to the management API, as the user who is logged in by a cookie that scripts cannot see.

export const enc = encodeURIComponent;
/** Joins a path of the API: `path('queues', vhost, name)`. */
export const path = (...parts) => `/api/${parts.map(enc).join('/')}`;
/** The name by which the API calls an exchange. */
export const exchangePart = (name) => name || 'amq.default';

const ADVICE =
  { 0: 'Is the broker running, and does this machine reach it? The page tries again by itself.',
  401: 'Your user does not have the tag or permission for it. Ask an administrator, or log in as somebody else.',
  403: 'Your user does not have the permission for it. Ask an administrator, or log in as somebody else.',
  404: 'It may have been deleted, or its name is another one.', 409: 'Its state does not allow that now.',
  500: 'That is a fault of the broker; its log says more.',
  503: 'The broker is not ready for it now; try again in a moment.' };

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.reason ? String(body.reason).replace(/^Validation failed\s+/, '').trim() : `The broker answered ${status || 'nothing'}.`);
    this.status = status;
    this.advice = ADVICE[status];
  }
}

/** Dispatches `login` when the session has ended. */
export const session = new EventTarget();

let leaving = new AbortController();
/** Nobody waits for what is asked at the moment; its answers never come. */
export function abandon() {
  leaving.abort();
  leaving = new AbortController();
}

export async function request(method, where, body, { signal = leaving.signal, headers } = {}) {
  const left = leaving.signal;
  let response;
  try {
    response = await fetch(where.slice(1), { method, signal, credentials: 'same-origin', cache: 'no-store',
        headers: { 'x-requested-with': 'leveret',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (e) {
    if (left.aborted) return new Promise(() => {});
    if (e.name === 'AbortError') throw e;
    throw new ApiError(0, { reason: 'The broker does not answer.' });
  }
  const content = await response.text();
  let answer = null;
  if (content) try {
    answer = JSON.parse(content);
  } catch {
    answer = { reason: content.slice(0, 200) };
  }
  if (response.ok) return answer;
  if (response.status === 401 && !/\/(whoami|session)$/.test(where)) await check();
  throw new ApiError(response.status, answer);
}

/** Who is logged in, or null; a broker without that path is asked by another. */
export const who = () => request('GET', '/api/session').catch((e) => {
  if (e.status !== 404 && e.status !== 405) throw e;
  return request('GET', '/api/whoami');
}).catch((e) => {
  if (e.status !== 401) throw e;
  return null;
});

/** Who is logged in; tells the page when nobody is any more. */
export async function check() {
  const user = await who().catch(() => undefined);
  if (user === null) session.dispatchEvent(new Event('login'));
  return user;
}

export const get = (where, options) => request('GET', where, undefined, options);
export const put = (where, body = {}) => request('PUT', where, body);
export const post = (where, body = {}) => request('POST', where, body);
export const del = (where, options) => request('DELETE', where, undefined, options);

let paths = null;
/** Whether the broker has a path of the API, such as `/api/queues/{}/{}/messages`. */
export async function has(pattern) {
  paths ??= get('/api/openapi.json').then((known) => new Set(
      Object.keys(known.paths).map((p) => p.replace(/\{[^}]*\}/g, '{}'))));
  try {
    return (await paths).has(pattern);
  } catch (e) {
    paths = null;
    // a broker that does not say what it has is asked for it
    if (e.status === 404) return true;
    throw e;
  }
}

/** Adds a query to a path, leaving out what is nothing. */
export function query(where, values) {
  const list = Object.entries(values).filter(
    ([, value]) => value !== undefined && value !== null && value !== '');
  return list.length ? `${where}?${list.map(([name, value]) => `${enc(name)}=${enc(value)}`).join('&')}`
    : where;
}

/** Runs `work` for every item, a few at a time; answers the errors. */
export async function each(items, work, progress) {
  const errors = [];
  let next = 0, done = 0;
  const worker = async () => {
    while (next < items.length) {
      const item = items[next++];
      try {
        await work(item);
      } catch (error) {
        errors.push({ item, error });
      }
      progress?.(++done, items.length);
    }
  };
  await Promise.all(Array.from({ length: Math.min(6, items.length) }, worker));
  return errors;
}
