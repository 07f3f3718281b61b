// Charts of our own: areas under lines over time, with round numbers and clock times at the axes
// and
// the values under the pointer; and sparklines for lists.
import { h, svg, show, text } from './dom.js';
import { clock, DASH } from './format.js';

const LEFT = 72, BOTTOM = 24, TOP = 8, HEIGHT = 168, LOW = 96;

/** The steps of an axis from 0 to at least `max`: round, few. */
function steps(max, binary, parts) {
  if (!(max > 0)) return [0, 1];
  const base = binary ? 1024 ** Math.floor(Math.log(max) / Math.log(1024)) : 1;
  const wanted = max / base / parts;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= wanted) * base;
  const out = [0];
  while (out.at(-1) < max) out.push(out.at(-1) + step);
  return out;
}
const TIMES = [60, 120, 300, 600, 900, 1800, 3600, 7200].map((s) => s * 1000);

/** RabbitMQ's samples (newest first) as points in time. */
export const levels = (details) => (details?.samples ?? [])
  .map(({ timestamp, sample }) => [timestamp, sample]).reverse();
/** The same of a count that grows, as its rate a second. */
export function rates(details) {
  const points = levels(details);
  return points.slice(1).map(([t, v], i) => [t,
      Math.max(0, (v - points[i][1]) / ((t - points[i][0]) / 1000))]);
}

class Chart extends HTMLElement {
  connectedCallback() {
    this.legend ??= h('ul.legend');
    this.moment ??= h('li.quiet');
    this.drawing ??= svg('svg', { role: 'img', tabindex: 0, height: this.low ? LOW : HEIGHT,
        'aria-label': this.label });
    show(this, this.drawing, this.legend);
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this);
    this.drawing.addEventListener('pointermove',
      (event) => this.point(event.clientX - this.drawing.getBoundingClientRect().left));
    this.drawing.addEventListener('pointerleave', () => this.point(null));
    this.drawing.addEventListener('blur', () => this.point(null));
    this.drawing.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || !this.scale) return;
      event.preventDefault();
      this.point(Math.min(this.scale.width, Math.max(LEFT,
            (this.cursorX ?? this.scale.width) + step * 12)));
    });
  }
  disconnectedCallback() {
    this.sizes.disconnect();
  }

  /** `series`: `{ label, colour, points: [[ms, value]...], now }`; `limit`: `{ label, value }`. */
  set(data) {
    this.data = data;
    this.draw();
  }

  draw() {
    if (!this.data || !this.isConnected) return;
    const { series, format, binary, limit, rangeMs } = this.data;
    const width = Math.max(200, this.clientWidth);
    const right = width - 8, height = this.low ? LOW : HEIGHT, floor = height - BOTTOM;
    const end = Date.now(), start = end - rangeMs;
    const any = series.some((s) => s.points.length > 1);
    let top = 0;
    for (const s of series) for (const [t, v] of s.points) if (t >= start && v > top) top = v;
    if (limit && limit.value <= top * 3 && limit.value >= top * 0.2) top = Math.max(top, limit.value);
    const marks = steps(top, binary, this.low ? 2 : 4);
    const max = marks.at(-1);
    const x = (t) => LEFT + ((t - start) / rangeMs) * (right - LEFT);
    const y = (v) => floor - (v / max) * (floor - TOP);
    this.scale = { x, y, start, end, right, width, floor };
    const gap = TIMES.find((step) => rangeMs / step <= Math.max(2, (right - LEFT) / 96)) ?? TIMES.at(-1);
    const zone = new Date().getTimezoneOffset() * 60000;
    const times = [];
    for (let t = Math.ceil((start - zone) / gap) * gap + zone; t <= end; t += gap) times.push(t);
    this.drawing.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.drawing.setAttribute('aria-label',
      `${this.label}: ${series.map((s) => `${s.label} ${format(s.now)}`).join(', ')}`);
    this.cursor = svg('line.cursor', { y1: TOP, y2: floor, visibility: 'hidden' });
    show(this.drawing, marks.map((v) => [svg('line.rule', { x1: LEFT, x2: right, y1: y(v), y2: y(v) }),
          svg('text.tick', { x: LEFT - 8, y: y(v) + 5, 'text-anchor': 'end' },
            any ? format(v) : v === 0 ? '0' : '')]),
      times.map((t) => x(t) > LEFT + 16 && x(t) < right - 16
          && svg('text.tick', { x: x(t), y: height - 4, 'text-anchor': 'middle' },
          clock(t, false).slice(-5))), limit && limit.value <= max
        && [svg('line.limit', { x1: LEFT, x2: right, y1: y(limit.value), y2: y(limit.value) })],
      series.map((s, i) => this.curve(s, i)), !any
        && svg('text.tick', { x: (LEFT + right) / 2, y: height / 2, 'text-anchor': 'middle' },
        'No history of this is available'), this.cursor);
    this.drawLegend();
    if (this.cursorX !== undefined && this.cursorX !== null) this.point(this.cursorX);
  }

  curve({ points, colour }, i) {
    const { x, y, start, floor, right } = this.scale;
    const seen = points.filter(([t]) => t >= start - 60000)
      .map(([t, v]) => `${Math.min(right, Math.max(LEFT, x(t))).toFixed(1)},${y(v).toFixed(1)}`);
    if (seen.length < 2) return null;
    const line = `M${seen.join('L')}`;
    const dash = ['', '7 3', '2 3', '10 3 2 3'][i % 4];
    return [i < 2 && svg('path', { class: `area ${colour}`,
          d: `${line}L${seen.at(-1).split(',')[0]},${floor}L${seen[0].split(',')[0]},${floor}Z` }),
      svg('path', { class: `path ${colour}`, d: line, 'stroke-dasharray': dash || null })];
  }

  drawLegend() {
    const { series, format, limit } = this.data;
    const labels = series.map((s) => s.label).join();
    if (this.labels !== labels) {
      this.labels = labels;
      show(this.legend, series.map((s, i) => h('li',
            svg('svg', { class: `swatch ${s.colour}`, viewBox: '0 0 16 8', 'aria-hidden': 'true' },
              svg('line', { x1: 0, x2: 16, y1: 4, y2: 4, 'stroke-width': 2,
                'stroke-dasharray': ['', '7 3', '2 3', '6 2 2 2'][i % 4] || null })), s.label, h('b'))),
        (this.limit = h('li')), this.moment);
    }
    series.forEach((s, i) => text(this.legend.children[i].querySelector('b'), format(s.now)));
    text(this.limit, limit ? `${limit.label} ${format(limit.value)}` : '');
    text(this.moment, '');
  }

  point(px) {
    this.cursorX = px;
    if (!this.data || !this.scale) return;
    if (px === null || px < LEFT) {
      this.cursor.setAttribute('visibility', 'hidden');
      this.drawLegend();
      return;
    }
    const { start, end, right } = this.scale;
    const at = start + ((Math.min(px, right) - LEFT) / (right - LEFT)) * (end - start);
    let shown = null;
    this.data.series.forEach((s, i) => {
      const near = s.points.reduce((best, p) => (
          !best || Math.abs(p[0] - at) < Math.abs(best[0] - at) ? p : best), null);
      if (near) shown = near[0];
      text(this.legend.children[i].querySelector('b'), near ? this.data.format(near[1]) : DASH);
    });
    if (shown === null) return;
    const x = Math.min(right, Math.max(LEFT, this.scale.x(shown)));
    for (const end of ['x1', 'x2']) this.cursor.setAttribute(end, x);
    this.cursor.setAttribute('visibility', 'visible');
    text(this.moment, `at ${clock(shown)}`);
  }
}
customElements.define('lv-chart', Chart);

export function chart(label, { low = false } = {}) {
  const made = document.createElement('lv-chart');
  Object.assign(made, { label, low });
  return made;
}

/** A line as high as a row, without axes; the numbers stand beside it. */
export function spark(points) {
  if (points.length < 2) return h('span.quiet', '');
  const first = points[0][0], span = points.at(-1)[0] - first || 1;
  const top = Math.max(1, ...points.map((p) => p[1]));
  const line = points.map(
    ([t, v]) => `${(((t - first) / span) * 88).toFixed(1)},${(19 - (v / top) * 17).toFixed(1)}`).join(' ');
  return svg('svg.spark', { viewBox: '0 0 88 20', 'aria-hidden': 'true' },
    svg('polygon', { points: `0,19 ${line} 88,19` }), svg('polyline', { points: line }));
}
