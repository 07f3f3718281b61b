// The language of filters: words and `/expressions/` for names, `field:value`, `field>number`.
//
// What the server can do (one word or expression for the name) it is asked for; the rest is a list
// of tests that the table holds against the rows that it reads.
import { quantity } from './format.js';

const TOKEN = /\/((?:\\.|[^\\/])+)\/|"([^"]*)"|(\S+)/g;
const TEST = /^([a-z_]+)(>=|<=|[:=><])(.+)$/i;
const COMPARE = { ':': (a, b) => a === b, '=': (a, b) => a === b, '>': (a, b) => a > b,
  '<': (a, b) => a < b, '>=': (a, b) => a >= b, '<=': (a, b) => a <= b };

function parseTest(token, fields) {
  const match = TEST.exec(token);
  const field = match && fields[match[1].toLowerCase()];
  if (!field) return null;
  const [, name, op, wanted] = match;
  if (field.kind === 'number' || field.kind === 'time') {
    const number = quantity(wanted, field.kind === 'time');
    if (number === null)
      return { error: `${name} is compared with a ${field.kind === 'time' ? 'time, such as 5m' : 'number, such as 1000 or 10k'}; '${wanted}' is none.` };
    return { field, op, value: number, holds: (row) => {
      const has = field.read(row);
      return has !== null && has !== undefined && COMPARE[op](has, number);
    }
    };
  }
  if (field.kind === 'yes') {
    const yes = /^(yes|true|1)$/i.test(wanted);
    if (!yes && !/^(no|false|0)$/i.test(wanted))
      return { error: `${name} is yes or no; '${wanted}' is neither.` };
    return { field, op: ':', value: yes, holds: (row) => Boolean(field.read(row)) === yes };
  }
  const part = wanted.toLowerCase();
  if (op !== ':' && op !== '=') return { error: `${name} is compared with : only.` };
  return { field, op, value: part, holds: (row) => {
    const has = String(field.read(row) ?? '').toLowerCase();
    return field.exact ? has === part : has.includes(part);
  }
  };
}

/** Reads a filter: `{ name, regex, tests, error }`. */
export function parse(text, fields) {
  const out = { name: '', regex: false, tests: [], error: null };
  for (const match of text.trim().matchAll(TOKEN)) {
    const [, expression, quoted, word] = match;
    const test = word && parseTest(word, fields);
    if (test?.error) out.error = test.error;
    else if (test) out.tests.push(test);
    else if (expression !== undefined) {
      try {
        new RegExp(expression);
      } catch (e) {
        out.error = `/${expression}/ is no expression: ${e.message.replace(/^.*: /, '')}.`;
      }
      if (out.name) out.tests.push(nameTest(expression, true));
      else Object.assign(out, { name: expression, regex: true });
    } else {
      const name = quoted ?? word;
      if (out.name) out.tests.push(nameTest(name, false));
      else Object.assign(out, { name, regex: false });
    }
  }
  return out;
}

function nameTest(name, regex) {
  if (!regex) {
    const part = name.toLowerCase();
    return { holds: (row) => row.name.toLowerCase().includes(part) };
  }
  let expression = null;
  try {
    expression = new RegExp(name, 'i');
  } catch {
    return { holds: () => false };
  }
  return { holds: (row) => expression.test(row.name) };
}

/** The whole filter as one test, for rows that are all here. */
export function matcher({ name, regex, tests }) {
  const all = name ? [nameTest(name, regex), ...tests] : tests;
  return (row) => all.every((test) => test.holds(row));
}

/**
 * How the server should sort so that all rows that hold stand together at the start, and when to
 * stop reading: `{ sort, reverse, past(row) }`, or null when every row must be read.
 */
export function shortcut(tests) {
  for (const { field, op, value } of tests) {
    if (!field?.sort) continue;
    if (field.kind === 'number' && /[<>]/.test(op))
      return { sort: field.sort, reverse: op.startsWith('>'), past: (row) => {
        const has = field.read(row) ?? 0;
        return has === value ? op.length < 2 : has < value === op.startsWith('>');
      }
      };
    if (field.exact) {
      const falling = value > 'm';
      return { sort: field.sort, reverse: falling, past: (row) => {
        const has = String(field.read(row) ?? '').toLowerCase();
        return falling ? has < value : has > value;
      }
      };
    }
  }
  return null;
}
