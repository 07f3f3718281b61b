// A made-up queue: its messages, its numbers at a moment, and their samples.

export function hash(text) {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  return h >>> 0;
}

const range = (query, kinds) => {
  for (const kind of kinds) {
    const age = Number(query?.get(`${kind}_age`)), step = Number(query?.get(`${kind}_incr`));
    if (age > 0 && step > 0) return { age: age * 1000, step: step * 1000 };
  }
  return null;
};
const moments = ({ age, step }) => {
  const last = Math.floor(Date.now() / step) * step;
  return Array.from({ length: Math.floor(age / step) + 1 }, (_, i) => last - i * step);
};
const wave = (seed, t) => 1 + 0.35 * Math.sin(t / 97e3 + seed) + 0.12 * Math.sin(t / 13e3 + seed * 3);
const START = Date.UTC(2026, 0, 1);

/** A number with RabbitMQ's `*_details`, with samples where the query asks for them. */
export function gauge(name, at, query) {
  const now = Math.floor(Date.now() / 1000) * 1000;
  const details = { rate: Number(((at(now) - at(now - 5000)) / 5).toFixed(2)) };
  const asked = range(query, ['lengths', 'node_stats']);
  if (asked) details.samples = moments(asked).map((timestamp) => ({ sample: at(timestamp), timestamp }));
  return { [name]: at(now), [`${name}_details`]: details };
}

/** A count that grows by about `rate` a second, with the samples of the count. */
export function counter(name, rate, seedText, query) {
  const seed = (hash(name + seedText) % 628) / 100;
  const at = (t) => Math.round(rate * ((t - START) / 1000 - 0.35 * 97 * Math.cos(t / 97e3 + seed)
        - 0.12 * 13 * Math.cos(t / 13e3 + seed * 3)));
  const now = Math.floor(Date.now() / 1000) * 1000;
  const details = { rate: Number((rate * wave(seed, now)).toFixed(1)) };
  const asked = range(query, ['msg_rates', 'data_rates']);
  if (asked) details.samples = moments(asked).map((timestamp) => ({ sample: at(timestamp), timestamp }));
  return { [name]: at(now), [`${name}_details`]: details };
}

export class Queue {
  constructor(world, vhost, name, body, shape) {
    Object.assign(this, { world, vhost, name, shape, durable: body.durable !== false,
        auto_delete: Boolean(body.auto_delete) });
    this.arguments = { ...body.arguments };
    this.type = this.arguments['x-queue-type'] ?? 'classic';
    this.nextId = 1;
    this.made = null;
    this.dropped = 0;
    this.since = Date.now() - 3600e3;
  }

  messages() {
    if (!this.made) {
      this.made = [];
      const { made = 0, phantom = 0 } = this.shape;
      for (let i = 0; i < Math.min(2000, made + phantom); i++) this.put(this.invent(i));
    }
    return this.made;
  }
  put(message) {
    const list = this.messages();
    list.push({ state: 'ready', published_at: Date.now(), due_at: null, expires_at: null,
        parked_because: null, unacknowledged_by: null, redelivered: false, delivery_count: 0, ...message,
        id: String(this.nextId++) });
  }
  remove(message) {
    const i = this.messages().indexOf(message);
    if (i >= 0) this.made.splice(i, 1);
  }
  purge() {
    this.messages();
    this.made = this.made.filter((m) => m.state === 'unacknowledged');
    this.shape.level = 0;
    this.since = Date.now();
  }

  invent(i) {
    const { unacked = 0, delayed = 0, parked = 0, from } = this.shape;
    const now = Date.now();
    const published_at = now - (this.shape.made - i + 1) * 47e3;
    const message = { exchange: from ? 'dead' : 'events',
      routing_key: this.name.startsWith('work') ? 'work' : i % 3 ? 'order.paid' : 'order.created',
      published_at, properties: { delivery_mode: 2, content_type: 'application/json',
        message_id: `m-${hash(this.name + i).toString(16)}`, timestamp: Math.floor(published_at / 1000),
        headers: { tenant: `t-${i % 9}`, attempt: i % 4 } },
      payload: JSON.stringify({ id: 48000 + i, customer: { name: i % 5 ? 'Ada Lovelace'
              : this.world.markup ? '<script>alert(1)</script>' : 'Ada', email: 'ada@example.org' }, total: 19.9 + i, currency: 'EUR',
          paid: i % 2 === 0, items: [{ sku: 'HARE-1', count: 2 },
            { sku: 'HARE-7', count: 1, note: null }] }), payload_encoding: 'string' };
    if (i % 11 === 5) Object.assign(message, { payload: 'plain text, not JSON: '
          + 'lorem ipsum '.repeat(20), properties: { content_type: 'text/plain', headers: {} } });
    if (i % 11 === 8) Object.assign(message, { payload: Buffer.from(
          Array.from({ length: 300 }, (_, k) => (k * 37 + i) % 256)).toString('base64'),
        payload_encoding: 'base64', properties: { content_type: 'application/octet-stream',
          headers: {} } });
    if (i % 11 === 2) message.payload = JSON.stringify(
      { rows: Array.from({ length: 400 }, (_, k) => ({ row: k, text: `value ${k}` })) });
    if (i < unacked) Object.assign(message, { state: 'unacknowledged', redelivered: i % 2 === 0,
        delivery_count: i % 3, unacknowledged_by: { connection: this.consumerDetails()[
            0]?.channel_details.connection_name, channel: 1, consumer_tag: 'ctag1.0' } });
    if (i < delayed) Object.assign(message, { state: 'delayed', due_at: now + (i + 1) * 11 * 60e3 });
    if (i < parked) Object.assign(message, { state: 'parked', delivery_count: 6,
        parked_because: 'delivery limit 5 reached, and the queue has no dead-letter exchange' });
    if (from) {
      const time = Math.floor(published_at / 1000);
      const deaths = [{ count: 1 + (i % 3), reason: ['rejected', 'expired', 'delivery_limit',
            'maxlen'][i % 4], queue: from, time, exchange: 'events',
          'routing-keys': [message.routing_key] }];
      if (i % 3 === 0) deaths.push({ count: 2, reason: 'expired', queue: 'work.retry', time: time - 600,
          exchange: '', 'routing-keys': ['work'], 'original-expiration': '30000' });
      Object.assign((message.properties.headers ??= {}),
        { 'x-death': deaths, 'x-first-death-queue': from, 'x-first-death-reason': deaths[0].reason,
          'x-first-death-exchange': 'events' });
    }
    if (this.arguments['x-message-ttl']) message.expires_at = now + 30000 + i * 1000;
    return message;
  }

  show(message, bytes) {
    const raw = Buffer.from(message.payload, message.payload_encoding === 'base64' ? 'base64' : 'utf8');
    const truncated = raw.length > bytes;
    const part = truncated ? raw.subarray(0, bytes) : raw;
    return { ...message, payload: message.payload_encoding === 'base64' ? part.toString('base64')
        : part.toString('utf8'), payload_bytes: raw.length, truncated };
  }
  select({ state, header, text, ids }) {
    const [name, ...rest] = (header ?? '').split(':');
    const value = rest.length ? rest.join(':') : null;
    return this.messages().filter((m) => (!state || m.state === state) && (!ids || ids.includes(m.id))
        && (!text || m.payload.includes(text)) && (
        !name || (name in (m.properties.headers ?? {})
            && (value === null || String(m.properties.headers[name]) === value)))
        && (state || m.state !== 'unacknowledged' || !ids));
  }
  browse(query, fail) {
    const count = Math.min(500, Number(query.get('count') ?? 50));
    const from = query.get('from') ?? 'head';
    const bytes = Number(query.get('payload_bytes') ?? 4096);
    const chosen = this.select({ state: query.get('state') || undefined,
        header: query.get('header') || undefined, text: query.get('text') || undefined });
    if (query.get('state') === 'delayed') chosen.sort((a, b) => a.due_at - b.due_at);
    let list = chosen;
    const back = from === 'tail' || from.startsWith('tail:');
    if (back) {
      list = [...chosen].reverse();
      if (from !== 'tail') list = list.filter((m) => Number(m.id) <= Number(from.slice(5)));
    } else if (from.startsWith('time:')) list = chosen.filter(
      (m) => m.published_at >= Number(from.slice(5)));
    else if (from !== 'head') {
      if (!/^\d+$/.test(from)) fail(400, 'bad_request',
        `from is 'head', 'tail', a time or the id of a message, not '${from}'`);
      list = chosen.filter((m) => Number(m.id) >= Number(from));
    }
    const next = list[count]?.id ?? null;
    return { messages: list.slice(0, count).map((m) => this.show(m, bytes)),
      next: next && (back ? `tail:${next}` : next), looked_at: this.messages().length };
  }

  counts() {
    const now = Math.floor(Date.now() / 1000) * 1000;
    const { level = 0, grow = 0, phantom = 0 } = this.shape;
    const seed = (hash(this.name) % 628) / 100;
    const of = (t) => Math.max(0, Math.round(level * (wave(seed, t) - 0.4))
        + Math.floor((grow * (t - this.since)) / 1000));
    const by = { ready: 0, unacknowledged: 0, delayed: 0, parked: 0 };
    if (this.made || this.shape.made) for (const m of this.messages()) by[m.state]++;
    else by.ready = phantom;
    return { ...by, ready: by.ready + of(now), at: (t) => by.ready + of(t), now };
  }
  consumerDetails() {
    const { consumers = 0, unacked = 0 } = this.shape;
    return Array.from({ length: consumers }, (_, i) => {
      const c = this.world.connections?.[1 + (i % 2)] ?? {};
      return {
        consumer_tag: `ctag${i + 1}.0`,
        exclusive: false,
        ack_required: true,
        active: !this.arguments['x-single-active-consumer'] || i === 0,
        activity_status: this.arguments['x-single-active-consumer'] && i ? 'waiting' : 'up',
        prefetch_count: 20,
        arguments: {},
        messages_unacknowledged: Math.floor(unacked / consumers),
        queue: { name: this.name, vhost: this.vhost },
        channel_details: { name: `${c.name} (1)`, number: 1, node: this.world.node, peer_host: c.peer_host,
          peer_port: c.peer_port, connection_name: c.name, user: c.user }
      };
    });
  }

  // What sorting looks at without making the whole row.
  get messages_ready() {
    return this.counts().ready;
  }
  get messages_unacknowledged() {
    return this.counts().unacknowledged;
  }
  get consumers() {
    return this.shape.consumers ?? 0;
  }
  get state() {
    return 'running';
  }
  get messages_parked() {
    return this.shape.parked ?? 0;
  }
  get oldest_message_age_ms() {
    const c = this.counts();
    return c.ready + c.unacknowledged + c.delayed + c.parked ? (this.shape.made ?? 9) * 47e3 : null;
  }
  get messages_details() {
    return { rate: this.shape.grow ?? 0 };
  }
  get message_stats() {
    const rate = this.shape.rate ?? 0;
    return { publish_details: { rate }, deliver_get_details: { rate: this.shape.consumers ? rate : 0 },
      ack_details: { rate: this.shape.consumers ? rate : 0 } };
  }

  toRow(query, detail = false) {
    const c = this.counts();
    const { rate = 0, consumers = 0 } = this.shape;
    const policy = this.world.matching('policies', this),
      operator = this.world.matching('operatorPolicies', this);
    const total = c.ready + c.unacknowledged;
    const row = { name: this.name, vhost: this.vhost, type: this.type, node: this.world.node,
      state: 'running', durable: this.durable, auto_delete: this.auto_delete, exclusive: false,
      arguments: this.arguments, policy: policy?.name ?? null, operator_policy: operator?.name ?? null,
      effective_policy_definition: { ...policy?.definition, ...operator?.definition }, consumers,
      consumer_capacity: consumers ? 1 : 0, consumer_utilisation: consumers ? 1 : 0,
      memory: 12000 + total * 90, message_bytes: total * 640, message_bytes_ready: c.ready * 640,
      message_bytes_unacknowledged: c.unacknowledged * 640,
      ...gauge('messages', (t) => c.at(t) + c.unacknowledged, query),
      ...gauge('messages_ready', (t) => c.at(t), query),
      ...gauge('messages_unacknowledged', () => c.unacknowledged, query), messages_delayed: c.delayed,
      messages_parked: c.parked, damaged: null, head_message_timestamp: null,
      oldest_message_age_ms: total + c.delayed + c.parked ? (this.shape.made ?? 9) * 47e3 : null,
      average_message_wait_ms: rate ? 1e4 / rate : null,
      storage_version: 2 };
    if (rate) {
      row.message_stats = { ...counter('publish', rate, this.name, query) };
      if (consumers) Object.assign(row.message_stats, counter('deliver_get', rate * 1.01, this.name, query),
        counter('ack', rate, this.name, query), counter('redeliver', rate * 0.01, this.name, query));
    } else row.idle_since = new Date(this.since).toISOString();
    if (detail) Object.assign(row, { consumer_details: this.consumerDetails(), incoming: [], deliveries: [],
        exclusive_consumer_tag: null, single_active_consumer_tag: null });
    return row;
  }
}
