// Links into the pages.
import { enc } from './api.js';

/** `link('queues', vhost, name)` is `#/queues/%2F/orders`. */
export const link = (...parts) => `#/${parts.map(enc).join('/')}`;
/** The default exchange has a name in addresses. */
export const exchangeLink = (vhost, name) => link('exchanges', vhost, name || 'amq.default');
/** The page of the queue or exchange that a binding leads to. */
export const destinationLink = (vhost, type, name) => type === 'queue' ? link('queues', vhost, name)
  : exchangeLink(vhost, name);
