// Draws exchanges and queues from left to right, with what leads from one to the other.
import { h, svg, iconButton } from './dom.js';
import { DOTS, value } from './format.js';

const WIDE = 200, HIGH = 32, GAP_X = 120, GAP_Y = 16, LANE = 16, SWEEPS = 8;
const LABELS_MAX = 8;
const ZOOM_MIN = 0.1, ZOOM_MAX = 3, FIT_MIN = 0.6, FIT_MAX = 1.25;

/**
 * Gives every node a column: one right of what leads to it; edges that close a circle are not
 * counted.
 */
function columns(nodes, edges) {
  const out = new Map(nodes.map((n) => [n.id, []]));
  for (const e of edges) if (e.from !== e.to) out.get(e.from)?.push(e.to);
  const state = new Map(), order = [], back = new Set();
  for (const root of nodes) {
    const stack = [[root.id, 0]];
    if (state.has(root.id)) continue;
    state.set(root.id, 'open');
    while (stack.length) {
      const top = stack.at(-1);
      const next = out.get(top[0])[top[1]++];
      if (next === undefined) {
        state.set(top[0], 'done');
        order.push(top[0]);
        stack.pop();
      } else if (!state.has(next)) {
        state.set(next, 'open');
        stack.push([next, 0]);
      } else if (state.get(next) === 'open') back.add(`${top[0]}\0${next}`);
    }
  }
  const column = new Map(nodes.map((n) => [n.id, 0]));
  for (const id of order.reverse()) for (const to of out.get(id)) if (!back.has(`${id}\0${to}`))
    column.set(to, Math.max(column.get(to), column.get(id) + 1));
  return column;
}

/**
 * Places nodes so that few lines cross: by the mean of their neighbours, some times over. A line
 * that
 * passes columns gets a place in each of them, so that it goes between the nodes.
 */
function place(nodes, edges) {
  const column = columns(nodes, edges);
  const layers = [];
  for (const n of nodes) (layers[column.get(n.id)] ??= []).push({ id: n.id, high: HIGH + GAP_Y });
  const near = new Map(nodes.map((n) => [n.id, []]));
  const through = new Map();
  const join = (a, b) => {
    near.get(a).push(b);
    near.get(b).push(a);
  };
  for (const e of edges) {
    const from = column.get(e.from), to = column.get(e.to);
    const way = [];
    for (let c = from + 1; c < to; c++) {
      const id = `${e.from}\0${e.to}\0${c}`;
      if (!near.has(id)) {
        near.set(id, []);
        layers[c].push({ id, high: LANE });
      }
      way.push(id);
    }
    through.set(e, way);
    [e.from, ...way, e.to].reduce((a, b) => {
      join(a, b);
      return b;
    });
  }
  const rank = new Map();
  const number = () => layers.forEach((layer) => layer.forEach(
      (n, i) => rank.set(n.id, (i + 0.5) / layer.length)));
  number();
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const layer of sweep % 2 ? [...layers].reverse() : layers) {
      const mean = new Map(layer.map((n) => {
        const list = near.get(n.id);
        return [n, list.length ? list.reduce((s, id) => s + rank.get(id), 0) / list.length
            : rank.get(n.id)];
      }));
      layer.sort((a, b) => mean.get(a) - mean.get(b));
      layer.forEach((n, i) => rank.set(n.id, (i + 0.5) / layer.length));
    }
  }
  const heights = layers.map((layer) => layer.reduce((sum, n) => sum + n.high, 0));
  const height = Math.max(...heights);
  const at = new Map();
  layers.forEach((layer, x) => {
    const spare = (height - heights[x]) / layer.length;
    let y = 0;
    for (const n of layer) {
      at.set(n.id, { x: x * (WIDE + GAP_X), y: y + (n.high + spare - HIGH) / 2 });
      y += n.high + spare;
    }
  });
  return { at, through, width: layers.length * (WIDE + GAP_X) - GAP_X, height };
}

/** What stands at the line of a binding: its key, or the headers that it wants. */
export const bindingLabel = (b) => b.routing_key
  || Object.entries(b.arguments ?? {}).filter(([key]) => key !== 'x-match')
  .map(([key, v]) => `${key}=${value(v)}`).join(' ');

const cut = (name, most) => (name.length > most ? `${name.slice(0, most - 1)}${DOTS}` : name);

/** A picture of `nodes` (`{ id, kind, name, href }`) and `edges` (`{ from, to, label, kind }`). */
function picture({ nodes, edges, label }, allLabels) {
  edges = [...edges.reduce((all, e) => {
    const key = `${e.from}\0${e.to}\0${e.kind}`;
    const same = all.get(key);
    all.set(key, same ? { ...same, label: `${same.label}, ${e.label}` } : e);
    return all;
  }, new Map()).values()];
  const { at, through, width, height } = place(nodes, edges);
  const neighbours = new Map(nodes.map((n) => [n.id, new Set([n.id])]));
  const stacked = new Map();
  const lines = edges.map((e) => {
    const a = at.get(e.from), b = at.get(e.to);
    neighbours.get(e.from).add(e.to);
    neighbours.get(e.to).add(e.from);
    const x1 = a.x + WIDE, y1 = a.y + HIGH / 2, x2 = b.x, y2 = b.y + HIGH / 2;
    const stops = through.get(e).map((id) => {
      const p = at.get(id);
      return [p.x, p.y + HIGH / 2];
    });
    let d = `M${x1},${y1}`, px = x1, py = y1;
    if (x2 > x1) {
      for (const [x, y] of [...stops, [x2 - 6, y2]]) {
        const half = (x - px) / 2;
        d += `C${px + half},${py} ${x - half},${y} ${x},${y}`;
        if (x < x2 - 6) {
          d += `H${x + WIDE}`;
          px = x + WIDE;
        } else px = x;
        py = y;
      }
    } else d += `C${x1 + 60},${y1 + 70} ${x2 - 60},${y2 + 70} ${x2 - 6},${y2}`;
    // the words of lines to the same node stand one above the other
    const above = e.label ? stacked.get(e.to) ?? 0 : 0;
    if (e.label) stacked.set(e.to, above + 1);
    return { e, line: svg('path', { class: `edge ${e.kind ?? ''}`, d }, svg('title', `${e.label ?? ''}`)),
      head: svg('path', { class: `edge ${e.kind ?? ''}`,
          d: `M${x2 - 8},${y2 - 4}L${x2 - 1},${y2}L${x2 - 8},${y2 + 4}` }),
      words: e.label ? svg('text', { class: `edge-label ${allLabels ? '' : 'faded'}` },
        cut(e.label, allLabels ? 13 : 30)) : null, ends: [x1 + 10, y1 - 6, x2 - 12, y2 - 6 - 15 * above] };
  });
  // The words of a line stand at its far end, seen from the node that is looked at.
  const put = ({ words, ends: [x1, y1, x2, y2] }, far) => {
    words.setAttribute('x', far ? x2 : x1);
    words.setAttribute('y', far ? y2 : y1);
    words.setAttribute('text-anchor', far ? 'end' : 'start');
  };
  for (const l of lines) if (l.words) put(l, true);
  const marks = nodes.map((n) => {
    const { x, y } = at.get(n.id);
    return { n, mark: svg('a', { href: n.href, class: `node ${n.kind}`, transform: `translate(${x} ${y})` },
        svg('title', `${n.kind} ${n.name}`), svg('rect',
          { width: WIDE, height: HIGH, rx: n.kind === 'exchange' ? 16 : 4 }),
        svg('text', { x: 12, y: 21 }, cut(n.name, n.note ? 15 : 23)),
        n.note && svg('text.sub', { x: WIDE - 12, y: 21, 'text-anchor': 'end' }, n.note)) };
  });
  const layer = svg('g', lines.map((l) => [l.line, l.head]), marks.map((m) => m.mark),
    lines.map((l) => l.words));
  const focus = (id) => {
    for (const { n, mark } of marks) mark.classList.toggle('faded',
      Boolean(id) && !neighbours.get(id).has(n.id));
    for (const l of lines) {
      const { e, line, head, words } = l;
      const other = e.from !== id && e.to !== id;
      for (const part of [line, head]) part.classList.toggle('faded', Boolean(id) && other);
      if (words) {
        put(l, !id || e.from === id);
        words.classList.toggle('faded', id ? other : !allLabels);
      }
    }
  };
  for (const { n, mark } of marks) for (const [event, id] of [['pointerenter', n.id],
      ['pointerleave', null], ['focus', n.id], ['blur', null]])
    mark.addEventListener(event, () => focus(id));
  return { layer, width, height, label };
}

/** A picture as high as it is, that scrolls. */
export function drawing(graph) {
  const { layer, width, height } = picture(graph, true);
  return h('div.canvas.still.scroll-x', { tabindex: 0, role: 'group', 'aria-label': graph.label },
    svg('svg', { width: width + 16, height: height + 16, viewBox: `-8 -8 ${width + 16} ${height + 16}` },
      layer));
}

/** A picture that is moved with the pointer or arrows, and zoomed with the wheel, + and -. */
export function canvas(graph) {
  const { layer, width, height } = picture(graph, graph.edges.length <= LABELS_MAX);
  let x = 0, y = 0, zoom = 1, held = null;
  const drawn = svg('svg', { role: 'group', 'aria-label': graph.label }, layer);
  const paint = () => layer.setAttribute('transform',
    `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${zoom.toFixed(3)})`);
  const scale = (factor, px, py) => {
    const next = Math.min(ZOOM_MAX, Math.max(ZOOM_MIN, zoom * factor));
    x = px - ((px - x) * next) / zoom;
    y = py - ((py - y) * next) / zoom;
    zoom = next;
    paint();
  };
  const fit = () => {
    const box = element.getBoundingClientRect();
    if (!box.width) return;
    zoom = Math.min(FIT_MAX, Math.max(FIT_MIN,
        Math.min((box.width - 48) / width, (box.height - 48) / height)));
    x = Math.max(24, (box.width - width * zoom) / 2);
    y = Math.max(24, (box.height - height * zoom) / 2);
    paint();
  };
  const middle = () => [element.clientWidth / 2, element.clientHeight / 2];
  const element = h('div.canvas', {
    tabindex: 0,
    role: 'region',
    'aria-label': `${graph.label}; arrows move, plus and minus zoom`,
    onwheel: (event) => {
      event.preventDefault();
      const box = element.getBoundingClientRect();
      scale(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - box.left, event.clientY - box.top);
    },
    onpointerdown: (event) => {
      held = { px: event.clientX, py: event.clientY, x, y, moved: false };
    },
    onpointermove: (event) => {
      if (!held || !event.buttons) return;
      if (Math.abs(event.clientX - held.px) + Math.abs(event.clientY - held.py) > 4) held.moved = true;
      x = held.x + event.clientX - held.px;
      y = held.y + event.clientY - held.py;
      paint();
    },
    onclick: (event) => {
      if (held?.moved) event.preventDefault();
      held = null;
    },
    onkeydown: (event) => {
      const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60],
        ArrowDown: [0, -60] }[event.key];
      if (step) {
        event.preventDefault();
        x += step[0];
        y += step[1];
        paint();
      } else if (event.key === '+' || event.key === '-') scale(event.key === '+' ? 1.25 : 0.8, ...middle());
    }
  }, drawn, h('div.zoom.row.tight', iconButton('Zoom in', 'plus', () => scale(1.25, ...middle()), ''),
    iconButton('Zoom out', 'minus', () => scale(0.8, ...middle()), ''), iconButton('Fit', 'fit', fit, '')));
  requestAnimationFrame(fit);
  return element;
}
