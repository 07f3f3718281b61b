// The form that publishes a message.
import { h } from './dom.js';
import { path, post, exchangePart } from './api.js';
import { exchangeName } from './format.js';
import { field, input, select, check, table } from './fields.js';
import { open, toast } from './dialog.js';

const MORE = [['correlation_id', 'Correlation id'], ['reply_to', 'Reply to'], ['message_id', 'Message id'],
  ['type', 'Type'], ['app_id', 'Application'], ['expiration', 'Expires after (ms)'],
  ['priority', 'Priority', 'number']];

/** Publishes to an exchange; `given` is a message to start from. */
export function publish({ vhost, exchange, routingKey = '', given }) {
  const properties = given?.properties ?? {};
  const key = input({ value: routingKey });
  const persistent = check('Persistent: it outlives a restart in a durable queue',
    (properties.delivery_mode ?? 2) === 2);
  const type = input({ value: properties.content_type ?? '', placeholder: 'application/json' });
  const encoding = select([['string', 'Text'], ['base64', 'Base64']], given?.payload_encoding ?? 'string');
  const payload = h('textarea', { rows: 8, spellcheck: 'false', autofocus: !given,
      value: given?.payload ?? '' });
  const headers = table({ label: 'Headers', value: Object.fromEntries(
        Object.entries(properties.headers ?? {}).filter(
          ([name]) => !/^x-(death|first-death|last-death)/.test(name))), addLabel: 'Add header' });
  const more = MORE.map(([name, label, kind]) => [name, kind, label,
      input({ value: properties[name] ?? '', type: kind ?? 'text' })]);
  return open({ title: `Publish to ${exchangeName(exchange)}`, action: 'Publish', large: true,
      content: h('div.form', field('Routing key', key), field('Content type', type),
        field('Payload is', encoding), field('Payload', payload, { wide: true }), headers,
        h('div.wide', persistent), h('details.wide', h('summary', 'More properties'),
          h('div.form', more.map(([, , label, box]) => field(label, box))))), submit: async () => {
    const sent = { delivery_mode: persistent.box.checked ? 2 : 1, headers: headers.values() };
    if (type.value) sent.content_type = type.value;
    for (const [name, kind, , box] of more) if (box.value !== '')
      sent[name] = kind === 'number' ? Number(box.value) : box.value;
    const { routed } = await post(`${path('exchanges', vhost, exchangePart(exchange))}/publish`,
      { properties: sent, routing_key: key.value, payload: payload.value,
        payload_encoding: encoding.value });
    if (!routed) throw Object.assign(new Error(
        'No queue took the message: no binding matches this routing key. It is dropped.'),
      { advice: 'The route tester of the exchange shows where a message goes.' });
    toast('The message is published and routed');
  } });
}
