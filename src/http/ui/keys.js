// The arguments of queues and the keys of policies that have a meaning, with their types.

const BOTH = [['message-ttl', 'number', 'A message older than this many milliseconds expires.'],
  ['expires', 'number', 'The queue goes when nobody has used it for this many milliseconds.'],
  ['max-length', 'number', 'At most so many ready messages.'],
  ['max-length-bytes', 'number', 'At most so many bytes of ready messages.'],
  ['overflow', 'text', 'What happens at the limit: drop-head, reject-publish or reject-publish-dlx.'],
  ['dead-letter-exchange', 'text',
    'Where rejected, expired and surplus messages go; empty for the default exchange.'],
  ['dead-letter-routing-key', 'text', 'Their routing key there; without it they keep their own.'],
  ['dead-letter-strategy', 'text', 'Quorum queues: at-most-once or at-least-once.'],
  ['delivery-limit', 'number',
    'Failed deliveries before a message is a dead letter, or parked; -1 for none.'],
  ['consumer-timeout', 'number', 'A delivery must be settled within this many milliseconds.'],
  ['max-age', 'text', 'Streams: how long messages are kept, such as 7D or 12h.'],
  ['stream-max-segment-size-bytes', 'number', 'Streams: bytes of a segment, the unit that is dropped.']];
const make = ([key, type, hint], prefix = '') => ({ key: prefix + key, type, hint });

export const QUEUE_ARGUMENTS = [...BOTH.map((k) => make(k, 'x-')),
  ...[['x-max-priority', 'number', 'Levels of priority, 1 to 255; few are enough.'],
    ['x-single-active-consumer', 'yes/no', 'One consumer at a time; the others wait.'],
    ['x-queue-leader-locator', 'text', 'Taken, and without effect on one node.']].map((k) => make(k))];

export const POLICY_KEYS = [...BOTH.map((k) => make(k)),
  make(['alternate-exchange', 'text', 'Exchanges: where messages go that no binding takes.'])];

/** Settings of which the smaller counts when argument and policy both say something. */
export const SMALLER_WINS = new Set(['message-ttl', 'expires', 'max-length', 'max-length-bytes',
    'delivery-limit', 'consumer-timeout']);

/** What a setting does, in a sentence. */
export const explanation = (key) => BOTH.find(([name]) => name === key)?.[2];
