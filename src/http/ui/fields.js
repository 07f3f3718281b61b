// Fields of forms: labelled inputs, choices, and tables of names, types and values.
import { h, iconButton, button } from './dom.js';
import { uid } from './dialog.js';

/** Labels `input`; `hint` is a sentence below it. */
export function field(label, input, { hint, wide } = {}) {
  input.id ||= uid('field');
  const hintId = hint && uid('hint');
  if (hint) input.setAttribute('aria-describedby', hintId);
  return h('div', { class: `field ${wide ? 'wide' : ''}` }, h('label', { for: input.id }, label), input,
    hint && h('div.hint', { id: hintId }, hint));
}
export const input = (properties) => h('input',
  { autocomplete: 'off', spellcheck: 'false', ...properties });
/** A choice; options are values or pairs of value and text. */
export const select = (options, value, properties) => h('select', { ...properties },
  options.map((option) => {
  const [key, label] = Array.isArray(option) ? option : [option, option];
  return h('option', { value: key, selected: String(key) === String(value) }, label);
}));
export function check(label, checked, properties) {
  const box = h('input', { type: 'checkbox', checked: Boolean(checked), ...properties });
  const wrap = h('label.check', box, h('span', label));
  wrap.box = box;
  return wrap;
}
/** Buttons of which one is pressed. */
export function segments(label, options, chosen, onchange) {
  const group = h('div.segments', { role: 'group', 'aria-label': label },
    options.map(([key, text]) => h('button', { type: 'button', 'aria-pressed': String(key === chosen),
          onclick: (event) => {
    for (const other of group.children) other.setAttribute('aria-pressed',
      String(other === event.currentTarget));
    onchange(key);
  } }, text)));
  return group;
}

class Invalid extends Error {}

function read(name, type, text) {
  if (type === 'text') return text;
  if (type === 'number') {
    if (text.trim() === '' || Number.isNaN(Number(text)))
      throw new Invalid(`${name}: '${text}' is not a number.`);
    return Number(text);
  }
  if (type === 'yes/no') return /^(true|yes|1)$/i.test(text.trim());
  try {
    return JSON.parse(text);
  } catch {
    throw new Invalid(`${name}: '${text}' is not JSON.`);
  }
}
const typeOf = (value) => typeof value === 'number' ? 'number' : typeof value === 'boolean' ? 'yes/no'
  : typeof value === 'string' ? 'text' : 'JSON';

/**
 * An editor of a table. `known` is a list of `{ key, type, hint }`; `values()` throws what is
 * wrong.
 */
export function table({ label, known = [], value = {}, addLabel = 'Add', onchange }) {
  const listId = uid('known');
  const hints = new Map(known.map((k) => [k.key, k]));
  const rows = h('div.pairs');
  const add = (key = '', content = '', focus = true) => {
    const name = input({ value: key, 'aria-label': `${label}: name`, placeholder: 'name',
        list: known.length ? listId : null });
    const type = select(['text', 'number', 'yes/no', 'JSON'], content === '' ? 'text' : typeOf(content),
      { 'aria-label': `${label}: type` });
    const data = input({ value: typeof content === 'object' ? JSON.stringify(content) : String(content),
        'aria-label': `${label}: value`, placeholder: 'value' });
    const hint = h('div.hint.quiet');
    const tell = () => {
      const found = hints.get(name.value);
      hint.textContent = found?.hint ?? '';
      return found;
    };
    name.addEventListener('input', () => {
      const found = tell();
      if (found) type.value = found.type;
    });
    tell();
    const row = h('div.stack.close', h('div.pair', name, type, data, iconButton('Remove', 'close', () => {
      row.remove();
      onchange?.();
    })), hint);
    row.read = () => name.value === '' ? null : [name.value, read(name.value, type.value, data.value)];
    row.addEventListener('input', () => onchange?.());
    rows.append(row);
    if (focus) name.focus();
  };
  for (const [key, content] of Object.entries(value)) add(key, content, false);
  const element = h('fieldset.field.wide', h('legend', label), rows,
    known.length ? h('datalist', { id: listId }, known.map((k) => h('option', { value: k.key }))) : null,
    h('div', button(addLabel, () => add(), { image: 'plus' })));
  element.values = () => Object.fromEntries([...rows.children].map((row) => row.read()).filter(Boolean));
  element.set = (key, content) => add(key, content);
  return element;
}
