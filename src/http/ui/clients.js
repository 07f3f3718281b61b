// How the state of connections and channels is told.
import { h, tag } from './dom.js';

const WORDS = { flow: ['flow', 'Its publishing is slowed, as queues or the disk are behind.'],
  blocked: ['blocked', 'An alarm has stopped its publishing.'],
  blocking: ['blocking', 'An alarm is up; its next publish stops it.'], closing: ['closing', ''],
  closed: ['closed', ''], starting: ['starting', ''], opening: ['opening', ''], tuning: ['tuning', ''] };

export function stateCell(state) {
  const known = WORDS[state];
  if (!known) return h('span.quiet', state ?? '');
  const made = tag(known[0], state === 'flow' || state.startsWith('block') ? 'warn' : '',
    state === 'flow' || state.startsWith('block') ? 'warning' : null);
  made.title = known[1];
  return made;
}
