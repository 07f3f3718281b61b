// The charts that several pages have: their range, and series that look the same everywhere.
import { levels, rates } from './chart.js';
import { bytes, rate, short } from './format.js';
import { segments } from './fields.js';

const RANGES = [[600000, '10 min'], [3600000, '1 h'], [28800000, '8 h']];
const MESSAGES = [['publish', 'Publish', 's1'], ['deliver_get', 'Deliver', 's2'],
  ['ack', 'Acknowledge', 's3'], ['redeliver', 'Redeliver', 's4']];

/**
 * Calls `watch(ms)` now and when another range is chosen; it answers what stops it. The buttons
 * that choose are returned.
 */
export function ranged(watch) {
  let chosen = Number(sessionStorage.getItem('leveret.range')) || RANGES[0][0];
  let stops = watch(chosen);
  return segments('Range of the charts', RANGES, chosen, (value) => {
    sessionStorage.setItem('leveret.range', value);
    for (const stop of stops) stop();
    chosen = value;
    stops = watch(chosen);
  });
}

/** Series of rates from counts of `stats`: `[[key, label, colour]...]`. */
export const rateSeries = (stats, rangeMs, list = MESSAGES) => (
  { rangeMs, format: rate, series: list.map(([key, label, colour]) => (
        { label, colour, points: rates(stats?.[`${key}_details`]),
          now: stats?.[`${key}_details`]?.rate ?? 0 })) });

/** Series of what there is at a time. */
export const levelSeries = (from, rangeMs, list,
  more) => ({ rangeMs, format: short, series: list.map(
      ([key, label, colour]) => ({ label, colour, points: levels(from?.[`${key}_details`]),
          now: from?.[key] ?? 0 })), ...more });

export const depthSeries = (from, rangeMs) => levelSeries(from, rangeMs,
  [['messages_ready', 'Ready', 's1'], ['messages_unacknowledged', 'Unacknowledged', 's4']]);
export const memorySeries = (node, rangeMs) => levelSeries(node, rangeMs, [['mem_used', 'Memory', 's1']],
  { format: bytes, binary: true, limit: { label: 'Limit', value: node.mem_limit } });
export const diskSeries = (node, rangeMs) => levelSeries(node, rangeMs, [['disk_free', 'Free disk', 's2']],
  { format: bytes, binary: true, limit: { label: 'Least', value: node.disk_free_limit } });
