// Questions and notices: dialogs that keep the focus, a form whose errors stay with it, and short
// messages that a screen reader speaks.
import { h, show, icon, iconButton, problem, button } from './dom.js';
import { count, plural } from './format.js';
import { each } from './api.js';

let number = 0;
export const uid = (prefix = 'id') => `${prefix}-${++number}`;

/**
 * Opens a dialog with `content`; `submit` is called for the button and closes it when it ends
 * well.
 */
export function open({ title, content, action = 'Save', danger = false, large = false, submit, initial }) {
  return new Promise((resolve) => {
    const errors = h('div', { 'aria-live': 'assertive' });
    const go = h('button', { type: 'submit', class: `btn primary ${danger ? 'danger' : ''}` }, action);
    const id = uid('dialog');
    const form = h('form', { novalidate: true, onsubmit: async (event) => {
      event.preventDefault();
      go.disabled = true;
      show(errors);
      try {
        const result = await submit?.(dialog);
        dialog.returnValue = 'done';
        finish(result ?? true);
      } catch (error) {
        show(errors, problem(error));
      } finally {
        go.disabled = Boolean(initial?.disabled?.());
      }
    } }, h('header', h('h2', { id }, title)), h('div.content', content, errors),
    h('footer', button('Cancel', () => finish(false)), go));
    const dialog = h('dialog', { class: large ? 'large' : '', 'aria-labelledby': id, oncancel: (event) => {
      event.preventDefault();
      finish(false);
    } }, form);
    const finish = (result) => {
      dialog.close();
      dialog.remove();
      resolve(result);
    };
    document.body.append(dialog);
    initial?.ready?.(go);
    dialog.showModal();
    (form.querySelector('[autofocus]') ?? form.querySelector(
        '.content input, .content select, .content textarea') ?? go).focus();
  });
}

/** Asks before something is done. With `typed`, the person writes that to confirm. */
export function confirm({ title, text, action, typed, danger = true, submit }) {
  const input = typed && h('input', { id: uid('typed'), autocomplete: 'off', spellcheck: 'false',
      autofocus: true, size: 30 });
  const right = () => !typed || input.value === typed;
  return open({ title, action, danger, submit,
      content: [h('div.stack.close', [].concat(text).map((t) => (t instanceof Node ? t : h('p', t)))),
        typed && h('div.field', h('label', { for: input.id }, 'To confirm, type ',
            h('code.name-chip', typed)), input)], initial: { disabled: () => !right(), ready: (go) => {
    go.disabled = !right();
    input?.addEventListener('input', () => {
      go.disabled = !right();
    });
  } } });
}

const toasts = h('div.toasts', { role: 'status', 'aria-live': 'polite' });
document.body.append(toasts);

export function toast(message, kind = 'success') {
  const shown = h('div', { class: `note ${kind}` }, icon(kind === 'error' ? 'warning' : 'ok'),
    h('div.grow', message), iconButton('Dismiss', 'close', () => shown.remove()));
  toasts.append(shown);
  while (toasts.children.length > 4) toasts.firstChild.remove();
  setTimeout(() => shown.remove(), kind === 'error' ? 15000 : 5000);
}

/** Does `work` and says `done`, or the error in the API's words. */
export async function attempt(work, done) {
  try {
    const result = await work();
    if (done) toast(done);
    return result ?? true;
  } catch (error) {
    toast([error.message, error.advice && ` ${error.advice}`].filter(Boolean).join(''), 'error');
    return null;
  }
}

/** Does `work` for many things with one notice at the end. */
export async function attemptAll(items, work, thing, verb) {
  const bar = h('div');
  const wrap = h('div.progress', bar);
  const box = h('div.note', h('div.grow.stack.close', h('div', `${verb} ${plural(items.length, thing)}`),
      wrap));
  toasts.append(box);
  const errors = await each(items, work, (done, all) => bar.style.setProperty('--done',
      `${(100 * done) / all}%`));
  box.remove();
  if (errors.length)
    toast(`${verb}: ${count(items.length - errors.length)} of ${count(items.length)}. ${errors[0].error.message}`,
    'error');
  else toast(`${verb}: ${plural(items.length, thing)}`);
}
