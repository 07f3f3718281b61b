// The made-up broker behind mock.mjs: vhosts, queues with messages, clients, policies, jobs, and
// numbers that change with the clock. Given the same clock it answers the same.
import { Queue, hash, gauge, counter } from './queue.mjs';

const MINUTE = 60e3, HOUR = 3600e3;
const regex = (text) => {
  try {
    return new RegExp(text);
  } catch (e) {
    return null;
  }
};
const propertiesKey = (key, args) => {
  if (!Object.keys(args).length) return key === '' ? '~' : encodeURIComponent(key);
  return `${encodeURIComponent(key)}~${hash(JSON.stringify(args)).toString(36)}`;
};

export class World {
  /** Without `markup` no name looks like any, for pictures. */
  constructor({ queues = 0, markup = true }) {
    this.markup = markup;
    this.start = Date.now() - 27 * HOUR;
    this.clusterName = 'orders-eu';
    this.node = 'leveret@mq1';
    this.alarm = null;
    this.vhosts = new Map();
    this.users = new Map();
    this.queues = new Map();
    this.sorted = new Map();
    this.exchanges = new Map();
    this.bindings = [];
    this.policies = [];
    this.operatorPolicies = [];
    this.permissions = [];
    this.topicPermissions = [];
    this.vhostLimits = { billing: { 'max-connections': 200, 'max-queues': 500 } };
    this.userLimits = { app: { 'max-channels': 64 } };
    this.jobs = new Map();
    this.log = [];
    this.furnish();
    this.grow(queues);
  }

  furnish() {
    for (const [name, description, tags, dqt] of [['/', 'Default virtual host', [], 'classic'],
        ['billing', 'Invoices and payments', ['production'], 'quorum'], ['staging', '', [], 'classic']]) {
      this.vhosts.set(name, { name, description, tags, default_queue_type: dqt,
          protected_from_deletion: name === 'billing' });
      this.addDefaults(name);
    }
    for (const [name, password, tags] of [['guest', 'guest', ['administrator']],
        ['viewer', 'viewer', ['monitoring']], ['app', 'app', []],
        ['billing-worker', 'x', ['policymaker']]]) {
      this.users.set(name, { name, password, tags });
    }
    this.permissions.push({ user: 'guest', vhost: '/', configure: '.*', write: '.*', read: '.*' },
      { user: 'guest', vhost: 'billing', configure: '.*', write: '.*', read: '.*' },
      { user: 'app', vhost: '/', configure: '^$', write: '^(orders|events)', read: '^orders' },
      { user: 'billing-worker', vhost: 'billing', configure: '^invoice', write: '.*', read: '.*' });
    this.topicPermissions.push({ user: 'app', vhost: '/', exchange: 'events', write: '^order\\.',
        read: '.*' });
    this.addExchange('/', 'events', 'topic', {});
    this.addExchange('/', 'orders', 'direct', { arguments: { 'alternate-exchange': 'unrouted' } });
    this.addExchange('/', 'unrouted', 'fanout', {});
    this.addExchange('/', 'dead', 'direct', {});
    this.addExchange('/', 'broadcast', 'fanout', {});
    this.addExchange('/', 'by-region', 'headers', {});
    this.addExchange('billing', 'invoices', 'topic', {});

    const dead = { 'x-dead-letter-exchange': 'dead' };
    const q = (vhost, name, type, args, shape) => this.declare(vhost, name,
      { arguments: { 'x-queue-type': type, ...args } }, shape);
    q('/', 'orders', 'quorum', { ...dead, 'x-delivery-limit': 5 },
      { rate: 420, level: 60, consumers: 3, unacked: 24, made: 40 });
    q('/', 'orders.dead', 'quorum', {}, { made: 57, from: 'orders' });
    q('/', 'work', 'classic', { ...dead, 'x-max-priority': 5 },
      { rate: 180, level: 20, consumers: 2, unacked: 8, made: 30 });
    q('/', 'work.retry', 'classic', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'work',
        'x-message-ttl': 30000 }, { made: 12, from: 'work' });
    q('/', 'emails', 'classic', { 'x-max-length': 5000, 'x-overflow': 'reject-publish' },
      { rate: 35, grow: 9, made: 80 });
    q('/', 'emails.later', 'quorum', {}, { made: 9, delayed: 9 });
    q('/', 'audit', 'stream', { 'x-max-age': '7D', 'x-stream-max-segment-size-bytes': 100000000 },
      { rate: 640, grow: 640, consumers: 1, made: 60 });
    q('/', 'parked-payments', 'quorum', {}, { made: 4, parked: 4 });
    q('/', 'unroutable', 'classic', {}, { made: 6 });
    q('/', 'reports', 'classic', { 'x-expires': 86400000 }, {});
    if (this.markup) q('/', '<b>bold</b> & "quoted"', 'classic', {}, { made: 1 });
    q('billing', 'invoices.created', 'quorum', {},
      { rate: 52, level: 10, consumers: 2, unacked: 3, made: 12 });
    q('billing', 'invoices.paid', 'quorum', { 'x-single-active-consumer': true },
      { rate: 47, level: 5, consumers: 2, made: 8 });
    q('billing', 'ledger', 'stream', { 'x-max-length-bytes': 20e9 }, { rate: 47, grow: 47, made: 30 });
    for (const [s, type, d, key, args] of [['events', 'queue', 'orders', 'order.*'],
        ['events', 'queue', 'audit', '#'], ['events', 'queue', 'emails', 'order.paid'],
        ['events', 'queue', 'emails', 'user.#'], ['orders', 'queue', 'orders', 'new'],
        ['orders', 'queue', 'work', 'work'], ['unrouted', 'queue', 'unroutable', ''],
        ['dead', 'queue', 'orders.dead', 'new'], ['dead', 'queue', 'orders.dead', 'order.created'],
        ['dead', 'queue', 'work.retry', 'work'], ['events', 'exchange', 'broadcast', 'notice.#'],
        ['broadcast', 'queue', 'emails', ''], ['broadcast', 'queue', 'reports', ''],
        ['by-region', 'queue', 'reports', '', { 'x-match': 'all', region: 'eu', kind: 'report' }]])
      this.bind('/', s, type, d, key, args ?? {});
    this.bind('billing', 'invoices', 'queue', 'invoices.created', 'invoice.created', {});
    this.bind('billing', 'invoices', 'queue', 'invoices.paid', 'invoice.paid', {});
    this.bind('billing', 'invoices', 'queue', 'ledger', '#', {});

    this.setPolicy('policies', '/', 'long-queues',
      { pattern: '^emails', 'apply-to': 'queues', priority: 1,
        definition: { 'max-length': 100000, 'message-ttl': 86400000 } });
    this.setPolicy('policies', '/', 'dead-letters',
      { pattern: '^(work|emails)', 'apply-to': 'queues', priority: 0,
        definition: { 'dead-letter-exchange': 'dead' } });
    this.setPolicy('operatorPolicies', '/', 'guard',
      { pattern: '.*', 'apply-to': 'queues', priority: 0, definition: { 'max-length-bytes': 1073741824 } });

    const clients = [['order-service', 'order-service', 'pika', '1.3.2', 'Python 3.12'],
      ['worker-1', 'app', 'amqplib', '0.10.9', 'Node.js v22'],
      ['worker-2', 'app', 'amqplib', '0.10.9', 'Node.js v22'],
      ['billing', 'billing-worker', 'RabbitMQ Java client', '5.26.0', 'Java 21'],
      ['', 'guest', 'lapin', '2.5.0', 'Rust'], [`reporting${this.markup ? ' <img src=x onerror=alert(1)>' : ''}`, 'app', 'bunny',
        '2.24.0', 'ruby 3.4']];
    this.connections = clients.map(([name, user, product, version, platform], i) => {
      const peer_port = 41200 + i * 7;
      const peer_host = `10.4.0.${21 + i}`;
      return { name: `${peer_host}:${peer_port} -> 10.4.0.9:5672`, user_provided_name: name || undefined,
        user, vhost: i === 3 ? 'billing' : '/', node: this.node, peer_host, peer_port, host: '10.4.0.9',
        port: 5672, protocol: 'AMQP 0-9-1', type: 'network', auth_mechanism: 'PLAIN', ssl: i % 2 === 0,
        ssl_protocol: i % 2 ? null : 'tlsv1.3', ssl_cipher: i % 2 ? null : 'TLS_AES_256_GCM_SHA384',
        peer_cert_subject: null, connected_at: this.start + i * 3 * HOUR, timeout: 60, frame_max: 131072,
        channel_max: 2047, channels: 2, state: i === 2 ? 'flow' : 'running',
        client_properties: { product, version, platform, capabilities: { consumer_cancel_notify: true },
          ...(name ? { connection_name: name } : {}) }, recv_oct: 0, send_oct: 0 };
    });
    this.channels = this.connections.flatMap((c, i) => [1,
        2].map((number) => ({ name: `${c.name} (${number})`, number, node: this.node, vhost: c.vhost,
            user: c.user, state: c.state, prefetch_count: number === 1 ? 20 : 0,
            consumer_count: number === 1 ? 1 : 0, messages_unacknowledged: number === 1 ? 8 + i : 0,
            messages_unconfirmed: number === 2 ? i : 0, messages_uncommitted: 0, acks_uncommitted: 0,
            confirm: number === 2, transactional: false,
            connection_details: { name: c.name, peer_host: c.peer_host, peer_port: c.peer_port },
            user_who_performed_action: c.user, idle_since: null,
            rate: number === 2 ? 90 + 40 * i : 60 + 30 * i })));
    const lines = [
      ['info', 'leveret::node',
        'ready: AMQP on 0.0.0.0:5672, AMQPS on 0.0.0.0:5671, HTTP on 0.0.0.0:15672'],
      ['info', 'leveret::server', 'connection 10.4.0.21:41200 accepted: user order-service, vhost /'],
      ['warn', 'leveret::audit', 'login of user admin from 10.4.0.77 refused: wrong password'],
      ['info', 'leveret::broker', 'queue emails.later in vhost / declared by user app'],
      ['error', 'leveret::session',
        'channel 3 of 10.4.0.22:41207 closed: PRECONDITION_FAILED - unknown delivery tag 82']];
    for (let i = 0; i < 400; i++) this.log.push(
      { at: this.start + i * 4 * MINUTE, level: lines[i % 5][0], target: lines[i % 5][1],
        text: lines[i % 5][2] });
  }

  addDefaults(vhost) {
    for (const [name, type] of [['', 'direct'], ['amq.direct', 'direct'], ['amq.fanout', 'fanout'],
        ['amq.headers', 'headers'], ['amq.match', 'headers'], ['amq.rabbitmq.trace', 'topic'],
        ['amq.topic', 'topic']]) {
      this.addExchange(vhost, name, type, { internal: name === 'amq.rabbitmq.trace' });
    }
  }

  /** Adds queues until `count` have been made beside the named ones. */
  grow(count) {
    const nouns = ['orders', 'payments', 'emails', 'stock', 'search', 'audit', 'shipping', 'returns'];
    for (let i = this.grown ?? 0; i < count; i++) {
      const type = i % 10 === 0 ? 'quorum' : 'classic';
      this.declare('/', `${nouns[i % 8]}.tenant-${String(i).padStart(5, '0')}`,
        { arguments: { 'x-queue-type': type } }, { rate: i % 50 === 0 ? 3 : 0, level: i % 50 === 0 ? 4 : 0,
          made: 0, phantom: i % 7 === 0 ? hash(String(i)) % 4000 : 0, consumers: i % 3 === 0 ? 1 : 0 });
    }
    this.grown = Math.max(this.grown ?? 0, count);
  }

  command(name, body) {
    if (name === 'alarm') this.alarm = body.resource ?? null;
    if (name === 'queues') this.grow(body.count);
  }
  tick() {
    const now = Date.now();
    for (const job of this.jobs.values()) {
      if (job.state !== 'running') continue;
      const done = Math.min(job.total, Math.ceil((now - job.started) / 30));
      for (; job.moved < done; job.moved++) {
        const message = job.messages[job.moved];
        job.source.remove(message);
        const to = job.kind === 'move' ? job.target
          : this.queue(job.vhost, (message.properties.headers?.['x-death']?.[0] ?? {}).queue);
        to?.put({ ...message, state: 'ready', parked_because: null, due_at: null });
      }
      job.left = job.total - job.moved;
      if (!job.left) job.state = 'done';
    }
  }

  queue(vhost, name) {
    return this.queues.get(`${vhost}\0${name}`);
  }
  queueList(vhost) {
    const key = vhost ?? '';
    if (!this.sorted.has(key)) {
      const all = [...this.queues.values()].filter((q) => vhost === undefined || q.vhost === vhost);
      this.sorted.set(key, all.sort((a, b) => a.vhost < b.vhost ? -1 : a.vhost > b.vhost ? 1
            : a.name < b.name ? -1 : 1));
    }
    return this.sorted.get(key);
  }
  declare(vhost, name, body, shape = {}) {
    const made = new Queue(this, vhost, name, body, shape);
    this.queues.set(`${vhost}\0${name}`, made);
    this.sorted.clear();
    if (!shape.phantom) this.bind(vhost, '', 'queue', name, name, {});
    return made;
  }
  deleteQueue(queue) {
    this.queues.delete(`${queue.vhost}\0${queue.name}`);
    this.sorted.clear();
    this.bindings = this.bindings.filter((b) => b.vhost !== queue.vhost || b.destination_type !== 'queue'
        || b.destination !== queue.name);
  }
  deleteVhost(name) {
    this.vhosts.delete(name);
    for (const queue of this.queueList(name)) this.queues.delete(`${name}\0${queue.name}`);
    this.sorted.clear();
  }
  exchange(vhost, name) {
    return this.exchanges.get(`${vhost}\0${name}`);
  }
  addExchange(vhost, name, type, body) {
    this.exchanges.set(`${vhost}\0${name}`, { name, vhost, type, durable: body.durable ?? true,
        auto_delete: body.auto_delete ?? false, internal: body.internal ?? false,
        arguments: body.arguments ?? {}, user_who_performed_action: 'guest' });
  }
  exchangeRow(x, query) {
    const rate = { events: 640, orders: 240, invoices: 99, '': 12 }[x.name] ?? 0;
    if (!rate) return { ...x };
    return { ...x, message_stats: { ...counter('publish_in', rate, x.name, query),
        ...counter('publish_out', rate * 1.4, x.name, query) } };
  }
  exchangeList(vhost) {
    return [...this.exchanges.values()].filter((x) => vhost === undefined || x.vhost === vhost)
      .map((x) => this.exchangeRow(x)).sort((a, b) => (a.name < b.name ? -1 : 1));
  }
  deleteExchange(x, fail) {
    if (x.name === '' || x.name.startsWith('amq.'))
      fail(400, 'bad_request', `deletion of system exchange '${x.name}' in vhost '${x.vhost}' not allowed`);
    this.exchanges.delete(`${x.vhost}\0${x.name}`);
    this.bindings = this.bindings.filter((b) => b.vhost !== x.vhost
        || (b.source !== x.name && (b.destination_type !== 'exchange' || b.destination !== x.name)));
  }
  bind(vhost, source, destination_type, destination, routing_key, args) {
    this.bindings.push({ source, vhost, destination, destination_type, routing_key, arguments: args,
        properties_key: propertiesKey(routing_key, args) });
  }

  matches(x, binding, key, headers) {
    if (x.type === 'fanout') return true;
    if (x.type === 'topic') {
      const words = binding.routing_key.split('.'), given = key.split('.');
      const go = (i, j) => i === words.length ? j === given.length
        : words[i] === '#' ? go(i + 1, j) || (j < given.length && go(i, j + 1))
        : j < given.length && (words[i] === '*' || words[i] === given[j]) && go(i + 1, j + 1);
      return go(0, 0);
    }
    if (x.type === 'headers') {
      const wanted = Object.entries(binding.arguments).filter(([name]) => !name.startsWith('x-'));
      const same = ([name, value]) => headers?.[name] === value;
      return binding.arguments['x-match'] === 'any' ? wanted.some(same) : wanted.every(same);
    }
    return binding.routing_key === key;
  }
  route(x, { routing_key: key = '', headers = {} }) {
    const found = new Map();
    const visit = (exchange, path, seen) => {
      let any = false;
      for (const b of this.bindings) {
        if (b.vhost !== exchange.vhost || b.source !== exchange.name
            || !this.matches(exchange, b, key, headers)) continue;
        const step = { exchange: exchange.name, destination: b.destination,
          destination_type: b.destination_type, routing_key: b.routing_key, arguments: b.arguments };
        any = true;
        if (b.destination_type === 'queue') {
          if (!found.has(b.destination)) found.set(b.destination, [...path, step]);
        } else if (!seen.has(b.destination)) visit(this.exchange(x.vhost, b.destination), [...path, step],
          new Set([...seen, b.destination]));
      }
      const alternate = exchange.arguments['alternate-exchange'];
      if (!any && alternate && !seen.has(alternate))
        visit(this.exchange(x.vhost, alternate), [...path,
          { exchange: exchange.name, destination: alternate, destination_type: 'exchange',
            routing_key: null, arguments: {}, alternate: true }], new Set([...seen, alternate]));
    };
    visit(x, [], new Set([x.name]));
    const queues = [...found].map(([name, path]) => ({ name, path }));
    const used = queues.some((q) => q.path.some((s) => s.alternate));
    const why = queues.length ? used
      ? `no binding of exchange '${x.name}' matches; its alternate exchange takes the message`
      : `${queues.length} queues by ${x.type} routing`
      : `no binding of exchange '${x.name}' matches the routing key '${key}'; there is no alternate exchange`;
    return { routed: queues.length > 0, queues, alternate: x.arguments['alternate-exchange'] ?? null, why };
  }
  publish(x, body, fail) {
    if (typeof body.payload !== 'string') fail(400, 'bad_request', 'payload is missing');
    const { queues } = this.route(x, { routing_key: body.routing_key, headers: body.properties?.headers });
    for (const { name } of queues) {
      this.queue(x.vhost, name).put({ exchange: x.name, routing_key: body.routing_key,
          properties: body.properties ?? {}, payload: body.payload,
          payload_encoding: body.payload_encoding === 'base64' ? 'base64' : 'string' });
    }
    return { routed: queues.length > 0 };
  }
  startJob(kind, source, body, fail) {
    const target = kind === 'move' ? body.exchange ? null : this.queue(source.vhost, body.routing_key)
      : null;
    if (kind === 'move' && !target && !body.exchange)
      fail(404, 'not_found', `no queue '${body.routing_key}' in vhost '${source.vhost}'`);
    const chosen = source.select(body).slice(0, body.limit ?? Infinity);
    const id = String(this.jobs.size + 1);
    this.jobs.set(id, {
      id,
      kind,
      vhost: source.vhost,
      queue: source.name,
      state: chosen.length ? 'running' : 'done',
      moved: 0,
      left: chosen.length,
      total: chosen.length,
      reason: null,
      started: Date.now(),
      toJSON() {
        const { started, messages, source: s, target: t, toJSON, ...rest } = this;
        return rest;
      },
      messages: chosen,
      source,
      target
    });
    return id;
  }

  consumers() {
    return this.queueList().flatMap((q) => (q.shape.consumers ? q.consumerDetails() : []));
  }
  channelRow(c, query) {
    return { ...c, message_stats: c.number === 2 ? counter('publish', c.rate, c.name, query)
        : { ...counter('deliver_get', c.rate, c.name, query), ...counter('ack', c.rate, c.name, query) } };
  }
  channelDetail(name) {
    const found = this.channels.find((c) => c.name === name);
    return (found && { ...this.channelRow(found),
        consumer_details: this.consumers().filter((c) => c.channel_details.name === name), publishes: [],
        deliveries: [] });
  }
  close(connection) {
    this.connections = this.connections.filter((c) => c !== connection);
    this.channels = this.channels.filter((c) => c.connection_details.name !== connection.name);
    this.log.push({ at: Date.now(), level: 'info', target: 'leveret::server',
        text: `connection ${connection.name} closed by an operator` });
  }

  matching(which, queue) {
    return this[which].filter((p) => p.vhost === queue.vhost && regex(p.pattern)?.test(queue.name)
        && ['all', 'queues', `${queue.type}_queues`,
        queue.type === 'stream' ? 'streams' : ''].includes(p['apply-to']))
      .sort((a, b) => b.priority - a.priority)[0];
  }
  setPolicy(which, vhost, name, body) {
    const i = this[which].findIndex((p) => p.vhost === vhost && p.name === name);
    const made = { vhost, name, pattern: body.pattern, 'apply-to': body['apply-to'] ?? 'all',
      priority: body.priority ?? 0, definition: body.definition };
    if (i < 0) this[which].push(made);
    else this[which][i] = made;
    return i < 0 ? 201 : 204;
  }
  checkPolicy(body, fail) {
    if (!regex(body.pattern ?? '')) fail(400, 'bad_request',
      `Validation failed\n\nnot a regular expression: ${body.pattern}`);
    if (!body.pattern) fail(400, 'bad_request', 'Validation failed\n\nPattern not set');
    if (!Object.keys(body.definition ?? {}).length)
      fail(400, 'bad_request', 'Validation failed\n\nno policy provided');
  }
  previewPolicy(vhost, name, body) {
    const before = this.queueList(vhost).map((q) => [q, this.matching('policies', q)]);
    const saved = this.policies;
    this.policies = [...saved];
    this.setPolicy('policies', vhost, name, body);
    const queues = [];
    for (const [q, old] of before) {
      const fresh = this.matching('policies', q);
      if (JSON.stringify(old?.definition) === JSON.stringify(fresh?.definition)
          && old?.name === fresh?.name) continue;
      queues.push({ name: q.name, before: old?.definition ?? {}, after: fresh?.definition ?? {},
          policy_before: old?.name ?? null, policy_after: fresh?.name ?? null });
    }
    this.policies = saved;
    return { queues: queues.slice(0, 500), exchanges: [], total: queues.length };
  }

  setPermission(vhost, user, body) {
    const found = this.permissions.find((p) => p.user === user && p.vhost === vhost);
    if (found) {
      Object.assign(found, body);
      return 204;
    }
    this.permissions.push({ user, vhost, ...body });
    return 201;
  }
  userRow(u) {
    return { name: u.name, tags: u.tags, password_hash: 'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR',
      hashing_algorithm: 'rabbit_password_hashing_sha256', limits: this.userLimits[u.name] ?? {} };
  }
  limits(key, subject) {
    return Object.entries(this[key]).filter(([, value]) => Object.keys(value).length)
      .map(([name, value]) => ({ [subject]: name, value }));
  }
  vhostRow(v, query) {
    const named = this.queueList(v.name).slice(0, 200).map((q) => q.counts());
    const ready = (t) => named.reduce((total, c) => total + c.at(t), 0);
    const held = named.reduce((total, c) => total + c.unacknowledged, 0);
    const stats = v.name === 'staging' ? {} : { message_stats: { ...counter('publish', 99, v.name, query),
        ...counter('deliver_get', 97, v.name, query), ...counter('ack', 96, v.name, query) } };
    return { metadata: {}, tracing: false, cluster_state: { [this.node]: 'running' }, ...v,
      description: v.description ?? '', tags: v.tags ?? [], ...stats,
      ...gauge('messages', (t) => ready(t) + held, query), ...gauge('messages_ready', ready, query),
      ...gauge('messages_unacknowledged', () => held, query) };
  }

  nodes(query) {
    const mem = 176e6 + 12e6 * Math.sin(Date.now() / 90e3);
    return [{ name: this.node, type: 'disc', running: true, uptime: Date.now() - this.start, processors: 2,
        os_pid: '812', rates_mode: 'basic', mem_limit: 1.6e9, mem_alarm: this.alarm === 'memory',
        disk_free_limit: 5e9, disk_free_alarm: this.alarm === 'disk', fd_used: 61, fd_total: 65536,
        sockets_used: this.connections.length, sockets_total: 58000, proc_used: 12, proc_total: 1048576,
        run_queue: 0, enabled_plugins: ['rabbitmq_management'], partitions: [], being_drained: false,
        ...gauge('mem_used', (t) => Math.round((this.alarm === 'memory' ? 1.65e9 : 176e6)
              + 12e6 * Math.sin(t / 90e3)), query), ...gauge('disk_free',
          (t) => Math.round(38e9 - (t - this.start) * 4), query),
        ...gauge('sockets_used', (t) => this.connections.length + Math.round(2 * Math.sin(t / 400e3)),
          query), mem }].map(({ mem: _, ...rest }) => rest);
  }
  overview(query) {
    const level = (t) => Math.round(9e3 + 2500 * Math.sin(t / 200e3) + ((t - this.start) / 1000) * 0.02);
    const unacked = (t) => Math.round(400 + 90 * Math.sin(t / 70e3));
    return {
      management_version: '4.3.0',
      rates_mode: 'basic',
      product_name: 'Leveret',
      product_version: '0.9.0',
      rabbitmq_version: '4.3.0',
      erlang_version: '',
      cluster_name: this.clusterName,
      node: this.node,
      disable_stats: false,
      is_op_policy_updating_enabled: true,
      enable_queue_totals: false,
      exchange_types: ['direct', 'fanout', 'headers', 'topic', 'x-consistent-hash', 'x-modulus-hash',
        'x-random', 'x-delayed-message'].map((name) => ({ name, description: '', enabled: true })),
      message_stats: { ...counter('publish', 1240, 'o', query), ...counter('deliver_get', 1190, 'o', query),
        ...counter('ack', 1170, 'o', query), ...counter('redeliver', 14, 'o', query),
        ...counter('return_unroutable', 0.3, 'o', query) },
      queue_totals: { ...gauge('messages', (t) => level(t) + unacked(t), query),
        ...gauge('messages_ready', level, query), ...gauge('messages_unacknowledged', unacked, query) },
      churn_rates: { ...counter('connection_created', 0.4, 'c', query),
        ...counter('connection_closed', 0.4, 'd', query), ...counter('channel_created', 1, 'e', query) },
      object_totals: { connections: this.connections.length, channels: this.channels.length,
        exchanges: this.exchanges.size, queues: this.queues.size, consumers: 11 },
      listeners: [{ node: this.node, protocol: 'amqp', ip_address: '0.0.0.0', port: 5672 },
        { node: this.node, protocol: 'amqp/ssl', ip_address: '0.0.0.0', port: 5671 },
        { node: this.node, protocol: 'http', ip_address: '0.0.0.0', port: 15672 }],
      contexts: []
    };
  }

  definitions(vhost) {
    const of = (list) => list.filter((x) => vhost === undefined || x.vhost === vhost).map((x) => {
      if (vhost === undefined) return x;
      const { vhost: _, ...rest } = x;
      return rest;
    });
    const out = { rabbit_version: '4.3.0', rabbitmq_version: '4.3.0', product_name: 'Leveret',
      product_version: '0.9.0', queues: of(this.queueList().slice(0,
          500).map((q) => ({ name: q.name, vhost: q.vhost, durable: q.durable, auto_delete: false,
              arguments: q.arguments }))), exchanges: of(
        [...this.exchanges.values()].filter((x) => x.name && !x.name.startsWith('amq.')).map(
          ({ user_who_performed_action: _, ...x }) => x)),
      bindings: of(this.bindings.filter((b) => b.source).map(({ properties_key: _, ...b }) => b)),
      policies: of(this.policies) };
    if (vhost !== undefined) return out;
    return { ...out, users: [...this.users.values()].map((u) => this.userRow(u)),
      vhosts: [...this.vhosts.values()], permissions: this.permissions,
      topic_permissions: this.topicPermissions, parameters: [],
      global_parameters: [{ name: 'cluster_name', value: this.clusterName }] };
  }
  previewDefinitions(document) {
    const add = [], change = [];
    let same = 0;
    const problems = [];
    const compare = (kind, list, find, fields) => {
      for (const entry of list ?? []) {
        if (!entry.name) {
          problems.push(`a ${kind} has no name`);
          continue;
        }
        const there = find(entry);
        if (!there) {
          add.push({ kind, vhost: entry.vhost ?? null, name: entry.name });
          continue;
        }
        const before = {}, after = {};
        for (const f of fields) if (entry[f] !== undefined
            && JSON.stringify(there[f]) !== JSON.stringify(entry[f])) {
          before[f] = there[f];
          after[f] = entry[f];
        }
        if (Object.keys(after).length) change.push(
          { kind, vhost: entry.vhost ?? null, name: entry.name, before, after });
        else same++;
      }
    };
    compare('vhost', document.vhosts, (e) => this.vhosts.get(e.name),
      ['description', 'default_queue_type']);
    compare('user', document.users, (e) => this.users.get(e.name), ['tags']);
    compare('queue', document.queues, (e) => this.queue(e.vhost, e.name), ['durable', 'arguments']);
    compare('exchange', document.exchanges, (e) => this.exchange(e.vhost, e.name),
      ['type', 'durable', 'arguments']);
    compare('policy', document.policies, (e) => this.policies.find(
        (p) => p.vhost === e.vhost && p.name === e.name),
      ['pattern', 'priority', 'definition', 'apply-to']);
    return { add, change, same, problems, kept: [], warnings: [],
      skipped: document.parameters?.length ? ['parameters: none is known here'] : [] };
  }
  importDefinitions(document) {
    for (const v of document.vhosts ?? []) this.vhosts.set(v.name, { ...this.vhosts.get(v.name), ...v });
    for (const q of document.queues ?? []) if (!this.queue(q.vhost, q.name))
      this.declare(q.vhost, q.name, q);
    for (const x of document.exchanges ?? []) if (!this.exchange(x.vhost, x.name))
      this.addExchange(x.vhost, x.name, x.type, x);
    for (const p of document.policies ?? []) this.setPolicy('policies', p.vhost, p.name, p);
  }
}
