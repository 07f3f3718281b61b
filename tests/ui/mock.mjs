// A broker's HTTP side with made-up data that changes, to develop and test the web UI without one.
//
//   node tests/ui/mock.mjs [PORT [QUEUES]]
//
// It serves the files of src/http/ui with the headers of the real server and answers the part of
// the management API that the pages use. Users: guest/guest (administrator), viewer/viewer
// (monitoring), app/app (no tag). `POST /mock/alarm`, `/mock/queues` change its state for a test.
import http from 'node:http';
import { readFileSync, existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { extname, join, normalize } from 'node:path';
import { gzipSync } from 'node:zlib';
import { World } from './world.mjs';

const FILES = fileURLToPath(new URL('../../src/http/ui/', import.meta.url));
// what the broker sends with its pages
const POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml' };

class Failure extends Error {
  constructor(status, error, reason) {
    super(reason);
    Object.assign(this, { status, error, reason });
  }
}
const fail = (status, error, reason) => {
  throw new Failure(status, error, reason);
};
const notFound = () => fail(404, 'Object Not Found', 'Not Found');

function pick(row, columns) {
  const out = {};
  for (const column of columns) {
    const path = column.split('.');
    let from = row, to = out;
    for (let i = 0; i < path.length; i++) {
      if (from === null || typeof from !== 'object' || !(path[i] in from)) break;
      from = from[path[i]];
      if (i === path.length - 1) to[path[i]] = from;
      else to = to[path[i]] ??= {};
    }
  }
  return out;
}
const at = (row, path) => path.split('.').reduce((value, part) => value?.[part], row);

/** Sorting, filtering, columns and paging as RabbitMQ does them on lists. */
function list(rows, query) {
  const total = rows.length;
  const name = query.get('name');
  if (name) {
    let test;
    if (query.get('use_regex') === 'true') {
      let regex;
      try {
        regex = new RegExp(name, 'i');
      } catch (e) {
        fail(400, 'bad_request', `Invalid regular expression: ${name}`);
      }
      test = (row) => regex.test(row.name);
    } else {
      const wanted = name.toLowerCase();
      test = (row) => String(row.name).toLowerCase().includes(wanted);
    }
    rows = rows.filter(test);
  }
  const sort = query.get('sort');
  if (sort) {
    // `messages` of a queue that is not a row yet are the messages themselves
    const key = (row) => sort === 'messages' && row.toRow
      ? row.messages_ready + row.messages_unacknowledged : at(row, sort) ?? '';
    const keyed = rows.map((row) => [key(row), row]);
    keyed.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
    if (query.get('sort_reverse') === 'true') keyed.reverse();
    rows = keyed.map((pair) => pair[1]);
  }
  const columns = query.get('columns')?.split(',');
  const show = (row) => {
    const whole = row.toRow ? row.toRow(query) : row;
    return columns ? pick(whole, columns) : whole;
  };
  if (!query.has('page')) return rows.map(show);
  const size = Math.min(500, Number(query.get('page_size') ?? 100));
  const page = Number(query.get('page'));
  if (!(page >= 1) || !(size >= 1)) fail(400, 'bad_request', 'page and page_size are positive numbers');
  const items = rows.slice((page - 1) * size, page * size).map(show);
  if (page > 1 && !items.length) fail(400, 'page_out_of_range',
    `page out of range, page: ${page}, page count: ${Math.ceil(rows.length / size)}`);
  return { total_count: total, filtered_count: rows.length, item_count: items.length, page, page_size: size,
    page_count: Math.ceil(rows.length / size), items };
}

function routes(world) {
  const queue = (v, q) => world.queue(v, q) ?? notFound();
  const exchange = (v, x) => world.exchange(v, x === 'amq.default' ? '' : x) ?? notFound();
  const vhost = (v) => world.vhosts.get(v) ?? notFound();
  const user = (u) => world.users.get(u) ?? notFound();
  const job = (id) => world.jobs.get(id) ?? notFound();
  const message = (q, id) => {
    const found = q.messages().find((m) => m.id === id) ?? notFound();
    return found;
  };
  const table = [];
  const on = (method, path, answer) => {
    const names = [];
    const regex = path.replace(/:(\w+)/g, (_, name) => (names.push(name), '([^/]*)'));
    table.push({ method, regex: new RegExp(`^${regex}$`), answer });
  };
  const put = (map, key, value) => {
    const made = !map.has(key);
    map.set(key, value);
    return made ? 201 : 204;
  };

  on('GET', '/api/openapi.json', () => ({ paths: { '/api/definitions/preview': {}, '/api/log': {}, '/api/jobs': {},
        '/api/queues/{vhost}/{name}/messages': {}, '/api/queues/{vhost}/{name}/move': {},
        '/api/queues/{vhost}/{name}/redrive': {} } }));
  on('GET', '/api/whoami', (c) => ({ name: c.user.name, tags: c.user.tags }));
  on('GET', '/api/overview', (c) => world.overview(c.query));
  on('GET', '/api/cluster-name', () => ({ name: world.clusterName }));
  on('GET', '/api/nodes', (c) => list(world.nodes(c.query), c.query));
  on('GET', '/api/nodes/:n', (c) => world.nodes(c.query)[0]);
  on('GET', '/api/vhosts', (c) => list([...world.vhosts.values()].map((v) => world.vhostRow(v)), c.query));
  on('GET', '/api/vhosts/:v', (c, v) => world.vhostRow(vhost(v), c.query));
  on('PUT', '/api/vhosts/:v', (c, v) => {
    if (!world.vhosts.has(v)) world.addDefaults(v);
    return put(world.vhosts, v, { ...world.vhosts.get(v), name: v, ...c.body });
  });
  on('DELETE', '/api/vhosts/:v', (c, v) => {
    if (vhost(v).protected_from_deletion) fail(412, 'precondition_failed',
      `virtual host '${v}' is protected from deletion`);
    world.deleteVhost(v);
  });
  on('POST', '/api/vhosts/:v/deletion/protection', (c, v) => {
    vhost(v).protected_from_deletion = true;
  });
  on('DELETE', '/api/vhosts/:v/deletion/protection', (c, v) => {
    vhost(v).protected_from_deletion = false;
  });
  on('GET', '/api/vhosts/:v/permissions', (c, v) => world.permissions.filter((p) => p.vhost === v));
  on('GET', '/api/vhost-limits', () => world.limits('vhostLimits', 'vhost'));
  on('GET', '/api/vhost-limits/:v', (c, v) => world.limits('vhostLimits',
      'vhost').filter((l) => l.vhost === v));
  on('PUT', '/api/vhost-limits/:v/:n', (c, v, n) => {
    (world.vhostLimits[v] ??= {})[n] = c.body.value;
  });
  on('DELETE', '/api/vhost-limits/:v/:n', (c, v, n) => {
    delete world.vhostLimits[v]?.[n];
  });
  on('GET', '/api/user-limits', () => world.limits('userLimits', 'user'));
  on('GET', '/api/user-limits/:u', (c, u) => world.limits('userLimits',
      'user').filter((l) => l.user === u));
  on('PUT', '/api/user-limits/:u/:n', (c, u, n) => {
    (world.userLimits[u] ??= {})[n] = c.body.value;
  });
  on('DELETE', '/api/user-limits/:u/:n', (c, u, n) => {
    delete world.userLimits[u]?.[n];
  });

  on('GET', '/api/queues', (c) => list(world.queueList(), c.query));
  on('GET', '/api/queues/:v', (c, v) => list(world.queueList(vhost(v).name), c.query));
  on('GET', '/api/queues/:v/:q', (c, v, q) => queue(v, q).toRow(c.query, true));
  on('PUT', '/api/queues/:v/:q', (c, v, q) => {
    vhost(v);
    const there = world.queue(v, q);
    const durable = c.body.durable !== false;
    if (there && there.durable !== durable) fail(400, 'bad_request',
      `inequivalent arg 'durable' for queue '${q}' in vhost '${v}': received '${durable}' but current is '${there.durable}'`);
    if (c.body.arguments?.['x-max-length'] < 0)
      fail(400, 'bad_request', "invalid arg 'x-max-length' for queue: {value_negative,-1}");
    if (there) return 204;
    world.declare(v, q, c.body);
    return 201;
  });
  on('DELETE', '/api/queues/:v/:q', (c, v, q) => {
    const found = queue(v, q);
    if (c.query.get('if-empty') === 'true' && found.messages().length)
      fail(400, 'bad_request', `queue '${q}' in vhost '${v}' not empty`);
    world.deleteQueue(found);
  });
  on('DELETE', '/api/queues/:v/:q/contents', (c, v, q) => {
    queue(v, q).purge();
  });
  on('GET', '/api/queues/:v/:q/bindings', (c, v, q) => {
    queue(v, q);
    return world.bindings.filter((b) => b.vhost === v && b.destination_type === 'queue'
        && b.destination === q);
  });
  on('GET', '/api/queues/:v/:q/messages', (c, v, q) => queue(v, q).browse(c.query, fail));
  on('GET', '/api/queues/:v/:q/delayed', (c, v, q) => {
    c.query.set('state', 'delayed');
    return queue(v, q).browse(c.query, fail);
  });
  on('GET', '/api/queues/:v/:q/messages/:id',
    (c, v, q, id) => queue(v, q).show(message(queue(v, q), id), 16 << 20));
  on('DELETE', '/api/queues/:v/:q/messages/:id', (c, v, q, id) => {
    const found = message(queue(v, q), id);
    if (found.state === 'unacknowledged') fail(409, 'conflict',
      `message ${id} of queue '${q}' is unacknowledged: its consumer decides about it`);
    queue(v, q).remove(found);
  });
  on('POST', '/api/queues/:v/:q/messages/:id/requeue', (c, v, q, id) => {
    const found = message(queue(v, q), id);
    if (!['delayed', 'parked'].includes(found.state))
      fail(409, 'conflict', `message ${id} is ${found.state}, not delayed or parked`);
    Object.assign(found, { state: 'ready', due_at: null, parked_because: null });
  });
  on('POST', '/api/queues/:v/:q/move', (c, v, q) => {
    c.status = 202;
    return { id: world.startJob('move', queue(v, q), c.body, fail) };
  });
  on('POST', '/api/queues/:v/:q/redrive', (c, v, q) => {
    c.status = 202;
    return { id: world.startJob('redrive', queue(v, q), c.body, fail) };
  });
  on('GET', '/api/jobs', () => [...world.jobs.values()]);
  on('GET', '/api/jobs/:id', (c, id) => job(id));
  on('DELETE', '/api/jobs/:id', (c, id) => {
    if (job(id).state === 'running') job(id).state = 'stopped';
  });

  on('GET', '/api/exchanges', (c) => list(world.exchangeList(), c.query));
  on('GET', '/api/exchanges/:v', (c, v) => list(world.exchangeList(vhost(v).name), c.query));
  on('GET', '/api/exchanges/:v/:x', (c, v, x) => world.exchangeRow(exchange(v, x), c.query));
  on('PUT', '/api/exchanges/:v/:x', (c, v, x) => {
    if (x.startsWith('amq.')) fail(400, 'bad_request',
      `exchange name '${x}' contains reserved prefix 'amq.*'`);
    if (!['direct', 'fanout', 'topic', 'headers', 'x-consistent-hash', 'x-random'].includes(c.body.type))
      fail(400, 'bad_request', `unknown exchange type '${c.body.type}'`);
    if (world.exchange(v, x)) return 204;
    world.addExchange(v, x, c.body.type, c.body);
    return 201;
  });
  on('DELETE', '/api/exchanges/:v/:x', (c, v, x) => {
    world.deleteExchange(exchange(v, x), fail);
  });
  on('GET', '/api/exchanges/:v/:x/bindings/source', (c, v, x) => {
    const name = exchange(v, x).name;
    return world.bindings.filter((b) => b.vhost === v && b.source === name);
  });
  on('GET', '/api/exchanges/:v/:x/bindings/destination', (c, v, x) => {
    const name = exchange(v, x).name;
    return world.bindings.filter((b) => b.vhost === v && b.destination_type === 'exchange'
        && b.destination === name);
  });
  on('POST', '/api/exchanges/:v/:x/publish', (c, v, x) => world.publish(exchange(v, x), c.body, fail));
  on('POST', '/api/exchanges/:v/:x/route', (c, v, x) => world.route(exchange(v, x), c.body));
  on('GET', '/api/bindings', () => world.bindings);
  on('GET', '/api/bindings/:v', (c, v) => world.bindings.filter((b) => b.vhost === v));
  for (const [letter, type] of [['q', 'queue'], ['e', 'exchange']]) {
    on('POST', `/api/bindings/:v/e/:s/${letter}/:d`, (c, v, s, d) => {
      exchange(v, s);
      (type === 'queue' ? queue : exchange)(v, d);
      world.bind(v, s, type, d, c.body.routing_key ?? '', c.body.arguments ?? {});
      return 201;
    });
    on('DELETE', `/api/bindings/:v/e/:s/${letter}/:d/:k`, (c, v, s, d, k) => {
      const i = world.bindings.findIndex((b) => b.vhost === v && b.source === s && b.destination === d
          && b.destination_type === type && b.properties_key === k);
      if (i < 0) notFound();
      world.bindings.splice(i, 1);
    });
  }

  on('GET', '/api/connections', (c) => list(world.connections, c.query));
  on('GET', '/api/vhosts/:v/connections', (c, v) => list(world.connections.filter((x) => x.vhost === v),
      c.query));
  on('GET', '/api/connections/:n', (c, n) => world.connections.find((x) => x.name === n) ?? notFound());
  on('GET', '/api/connections/:n/channels', (c,
      n) => world.channels.filter((x) => x.connection_details.name === n));
  on('DELETE', '/api/connections/:n', (c, n) => {
    world.close(world.connections.find((x) => x.name === n) ?? notFound(), c.request.headers['x-reason']);
  });
  on('GET', '/api/channels', (c) => list(world.channels, c.query));
  on('GET', '/api/vhosts/:v/channels', (c, v) => list(world.channels.filter((x) => x.vhost === v),
      c.query));
  on('GET', '/api/channels/:n', (c, n) => world.channelDetail(n) ?? notFound());
  on('GET', '/api/consumers', (c) => world.consumers());

  for (const [path, key] of [['policies', 'policies'], ['operator-policies', 'operatorPolicies']]) {
    on('GET', `/api/${path}`, () => world[key]);
    on('GET', `/api/${path}/:v`, (c, v) => world[key].filter((p) => p.vhost === v));
    on('GET', `/api/${path}/:v/:n`, (c, v, n) => world[key].find((p) => p.vhost === v && p.name === n)
        ?? notFound());
    on('PUT', `/api/${path}/:v/:n`, (c, v, n) => {
      world.checkPolicy(c.body, fail);
      return world.setPolicy(key, v, n, c.body);
    });
    on('DELETE', `/api/${path}/:v/:n`, (c, v, n) => {
      const i = world[key].findIndex((p) => p.vhost === v && p.name === n);
      if (i < 0) notFound();
      world[key].splice(i, 1);
    });
  }
  on('POST', '/api/policies/:v/:n/preview', (c, v, n) => {
    world.checkPolicy(c.body, fail);
    return world.previewPolicy(v, n, c.body);
  });

  on('GET', '/api/users', () => [...world.users.values()].map((u) => world.userRow(u)));
  on('GET', '/api/users/:u', (c, u) => world.userRow(user(u)));
  on('PUT', '/api/users/:u', (c, u) => {
    if (!world.users.has(u) && !c.body.password && !c.body.password_hash)
      fail(400, 'bad_request', 'password or password_hash is missing');
    const tags = Array.isArray(c.body.tags) ? c.body.tags
      : String(c.body.tags ?? '').split(',').filter(Boolean);
    return put(world.users, u, { ...world.users.get(u), name: u, tags,
        ...(c.body.password ? { password: c.body.password } : {}) });
  });
  on('DELETE', '/api/users/:u', (c, u) => {
    user(u);
    world.users.delete(u);
    world.permissions = world.permissions.filter((p) => p.user !== u);
  });
  on('GET', '/api/users/:u/permissions', (c, u) => {
    user(u);
    return world.permissions.filter((p) => p.user === u);
  });
  on('GET', '/api/users/:u/topic-permissions', (c, u) => {
    user(u);
    return world.topicPermissions.filter((p) => p.user === u);
  });
  on('GET', '/api/permissions', () => world.permissions);
  on('PUT', '/api/permissions/:v/:u', (c, v, u) => world.setPermission(v, u, c.body));
  on('DELETE', '/api/permissions/:v/:u', (c, v, u) => {
    world.permissions = world.permissions.filter((p) => p.user !== u || p.vhost !== v);
  });
  on('PUT', '/api/topic-permissions/:v/:u', (c, v, u) => {
    world.topicPermissions = world.topicPermissions.filter(
      (p) => p.user !== u || p.vhost !== v || p.exchange !== c.body.exchange);
    world.topicPermissions.push({ user: u, vhost: v, ...c.body });
    return 201;
  });
  on('DELETE', '/api/topic-permissions/:v/:u', (c, v, u) => {
    world.topicPermissions = world.topicPermissions.filter((p) => p.user !== u || p.vhost !== v);
  });

  on('GET', '/api/definitions', () => world.definitions());
  on('GET', '/api/definitions/:v', (c, v) => world.definitions(vhost(v).name));
  on('POST', '/api/definitions', (c) => {
    world.importDefinitions(c.body);
  });
  on('POST', '/api/definitions/:v', (c) => {
    world.importDefinitions(c.body);
  });
  on('POST', '/api/definitions/preview', (c) => world.previewDefinitions(c.body));
  table.unshift(table.pop());
  on('GET', '/api/log', (c) => ({ lines: world.log.slice(-Number(c.query.get('lines') ?? 1000)) }));
  on('GET', '/api/feature-flags', () => [{ name: 'stream_queue', state: 'enabled' }]);
  return table;
}

/** Starts the server; answers `{ url, world, close }`. */
export async function start({ port = 0, queues = 0, markup = true } = {}) {
  const world = new World({ queues, markup });
  const table = routes(world);
  const sessions = new Map();
  const streams = new Set();

  const user = (request) => {
    const cookie = /(?:^|; )session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
    if (cookie && sessions.has(cookie)) return { user: world.users.get(sessions.get(cookie)),
      byCookie: true };
    const basic = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (basic) {
      const [name, ...rest] = Buffer.from(basic, 'base64').toString().split(':');
      const found = world.users.get(name);
      if (found && found.password === rest.join(':')) return { user: found };
    }
    return {};
  };
  const OPEN = /^\/api\/(openapi|queues|exchanges|bindings|vhosts|policies|whoami|overview|definitions)/;
  const may = (who, method, path) => {
    const tags = who.tags;
    if (!tags.length) fail(401, 'not_authorized', 'Not management user');
    const admin = tags.includes('administrator');
    if (!admin && /^\/api\/(users|permissions|definitions|user-limits|log)/.test(path))
      fail(401, 'not_authorized', 'Not administrator user');
    if (!admin && !tags.includes('monitoring') && !OPEN.test(path))
      fail(401, 'not_authorized', 'Not monitor user');
    if (!admin && method !== 'GET') fail(403, 'not_authorised',
      `ACCESS_REFUSED - configure access refused for user '${who.name}'`);
  };

  const answer = (request, who, method, url, body) => {
    may(who, method, url.pathname);
    const methods = [];
    for (const route of table) {
      const match = route.regex.exec(url.pathname);
      if (!match) continue;
      if (route.method !== method) {
        methods.push(route.method);
        continue;
      }
      const context = { user: who, query: url.searchParams, body, request, status: 200 };
      const result = route.answer(context, ...match.slice(1).map(decodeURIComponent));
      if (typeof result === 'number') return { status: result };
      if (result === undefined) return { status: 204 };
      const columns = !Array.isArray(result) && !('items' in result) && url.searchParams.get('columns');
      return { status: context.status, body: columns ? pick(result, columns.split(',')) : result };
    }
    if (methods.length) fail(405, 'method_not_allowed', 'Method Not Allowed');
    return notFound();
  };
  const safely = (...args) => {
    try {
      return answer(...args);
    } catch (e) {
      if (!(e instanceof Failure)) throw e;
      return { status: e.status, body: { error: e.error, reason: e.reason } };
    }
  };

  function stream(request, response, who, url) {
    const paths = url.searchParams.getAll('path');
    if (paths.length > 8) fail(400, 'bad_request', 'at most 8 paths');
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    const last = new Map();
    const send = () => {
      world.tick();
      for (const path of paths) {
        const { status, body } = safely(request, who, 'GET', new URL(path, 'http://mock'));
        const text = JSON.stringify({ path, status, body });
        if (last.get(path) === text) continue;
        last.set(path, text);
        response.write(`event: update\ndata: ${text}\n\n`);
      }
    };
    send();
    const timer = setInterval(send, Math.max(1000, Number(url.searchParams.get('interval') ?? 2000)));
    const ping = setInterval(() => response.write('event: ping\ndata: {}\n\n'), 10000);
    const entry = { end: () => response.end() };
    streams.add(entry);
    response.on('close', () => {
      clearInterval(timer);
      clearInterval(ping);
      streams.delete(entry);
    });
  }

  function api(request, response, url, body) {
    const reply = ({ status, body: out }, headers = {}) => {
      let text = out === undefined ? '' : JSON.stringify(out);
      const zip = text.length > 1000 && /gzip/.test(request.headers['accept-encoding'] ?? '');
      if (zip) text = gzipSync(text);
      response.writeHead(status, { ...(out === undefined ? {} : { 'content-type': 'application/json' }),
          ...(zip ? { 'content-encoding': 'gzip' } : {}), 'cache-control': 'no-cache', ...headers });
      response.end(text);
    };
    if (url.pathname === '/api/session' && request.method === 'POST') {
      const found = world.users.get(body.username);
      if (!found || found.password !== body.password)
        return reply({ status: 401, body: { error: 'not_authorized', reason: 'Login failed' } });
      if (!found.tags.length) return reply({ status: 401,
          body: { error: 'not_authorized', reason: 'Not management user' } });
      const id = Math.random().toString(36).slice(2);
      sessions.set(id, found.name);
      return reply({ status: 204 },
        { 'set-cookie': `session=${id}; HttpOnly; SameSite=Strict; Path=/api` });
    }
    const who = user(request);
    if (url.pathname === '/api/session' && request.method === 'GET')
      return reply(who.user ? { status: 200, body: { name: who.user.name, tags: who.user.tags } }
        : { status: 204 });
    if (url.pathname === '/api/session' && request.method === 'DELETE') {
      sessions.clear();
      return reply({ status: 204 },
        { 'set-cookie': 'session=; HttpOnly; SameSite=Strict; Path=/api; Max-Age=0' });
    }
    if (!who.user) {
      const quiet = request.headers['x-requested-with'] === 'leveret';
      return reply({ status: 401, body: { error: 'not_authorized', reason: 'Login failed' } },
        quiet ? {} : { 'www-authenticate': 'Basic realm="Leveret"' });
    }
    if (who.byCookie && request.method !== 'GET' && request.headers['x-requested-with'] !== 'leveret') {
      return reply({ status: 403, body: { error: 'forbidden',
            reason: 'X-Requested-With: leveret is missing' } });
    }
    if (url.pathname === '/api/stream') return stream(request, response, who.user, url);
    world.tick();
    return reply(safely(request, who.user, request.method, url, body));
  }

  const server = http.createServer((request, response) => {
    const url = new URL(request.url, 'http://mock');
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      try {
        const text = Buffer.concat(chunks).toString();
        const body = text ? JSON.parse(text) : {};
        if (url.pathname.startsWith('/mock/')) {
          world.command(url.pathname.slice(6), body);
          if (url.pathname === '/mock/cut') for (const entry of streams) entry.end();
          response.writeHead(204).end();
        } else if (url.pathname.startsWith('/api/')) {
          api(request, response, url, body);
        } else {
          const name = url.pathname === '/' ? 'index.html' : normalize(url.pathname).replace(/^\/ui\//, '');
          const path = join(FILES, name);
          if (!path.startsWith(FILES) || !existsSync(path)) return response.writeHead(404).end();
          response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream',
              'content-security-policy': POLICY, 'x-content-type-options': 'nosniff',
              'referrer-policy': 'no-referrer' });
          response.end(readFileSync(path));
        }
      } catch (e) {
        if (!(e instanceof SyntaxError)) console.error(e);
        if (!response.headersSent) response.writeHead(e instanceof SyntaxError ? 400 : 500,
          { 'content-type': 'application/json' });
        response.end(JSON.stringify({ error: 'bad_request', reason: String(e.message) }));
      }
    });
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, world, close: () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  }
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await start({ port: Number(process.argv[2] ?? 15680),
      queues: Number(process.argv[3] ?? 0) });
  console.log(url);
}
