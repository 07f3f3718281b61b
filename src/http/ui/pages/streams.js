// Streams: queues that are logs, read by offset and time.
import { h, button, note } from '../dom.js';
import { queueTable, declare } from './queues.js';

export default function streams(ctx) {
  return h('div.page.full', ctx.head('Streams',
      button('Declare a stream', () => declare(ctx, 'stream'), { kind: 'primary', image: 'plus' })),
    note(null, 'A stream keeps what was read: each consumer reads from an offset or a time of its own.'),
    queueTable(ctx, { base: 'type:stream', thing: 'stream' }));
}
