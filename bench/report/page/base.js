// Decodes the data into rows; formats numbers and text; creates elements.

const data = JSON.parse(document.getElementById('data').textContent);
const at = (id) => document.getElementById(id);
const root = document.documentElement;

const LONGEST = 90; // letters on a line of a hover text
const COLLATOR = new Intl.Collator('en', { numeric: true });
const STYLES = ['ink', 'paper', 'muted', 'rule'];
const theme = {}; // the current colour of each name in STYLES

/** Decode a column: numbers are stored unchanged, strings as indices into `values`. */
const decode = (column) => (Array.isArray(column) ? column
  : column.at.map((place) => (place === null ? null : column.values[place])));

function decodeRows() {
  const keys = Object.keys(data.rows);
  const columns = keys.map((key) => decode(data.rows[key]));
  const count = columns.length ? columns[0].length : 0;
  return Array.from({ length: count }, (_, i) => {
    const row = Object.fromEntries(keys.map((key, k) => [key, columns[k][i]]));
    row.label = data.devices[row.device].label;
    row.level = row.stage ? 'failed' : row.verdict || 'no verdict';
    row.words = [row.case, row.name, row.form, row.label, row.backend, row.precision, row.level,
      row.doubts, row.stage, row.failure].join(' ').toLowerCase();
    return row;
  });
}

function significant(value, digits = 3) {
  if (value === null) return '–';
  if (value === 0) return '0';
  const exponent = Number(value.toExponential(digits - 1).split('e')[1]);
  return value.toFixed(Math.max(digits - 1 - exponent, 0));
}

const ms = (seconds) => significant(seconds === null ? null : seconds * 1e3);

function plusMinus(mean, std) {
  const text = ms(mean);
  if (mean === null || std === null) return text;
  return `${text} ± ${(std * 1e3).toFixed((text.split('.')[1] || '').length)}`;
}

const interval = (row) => (row.low === null ? '–' : `${ms(row.low)} to ${ms(row.high)}`);
const shorten = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : text);

/** Escape text for plotly, which interprets markup. */
const literal = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;')
  .replace(/>/g, '&gt;');

/** Create an element; strings among the children become text, never markup. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Red, green and blue of `#rrggbb` or `rgb(…)`. */
const channels = (tone) => (tone.startsWith('#')
  ? [1, 3, 5].map((place) => parseInt(tone.slice(place, place + 2), 16))
  : tone.match(/[\d.]+/g).slice(0, 3).map(Number));

/** (1 - share) tone + share other, per channel. */
function mixed(tone, other, share) {
  const to = channels(other);
  return `rgb(${channels(tone).map((part, i) => (
    Math.round((1 - share) * part + share * to[i]))).join(', ')})`;
}

const unique = (values) => [...new Set(values)];

function byFrequency(values) {
  const count = new Map();
  for (const value of values) count.set(value, (count.get(value) || 0) + 1);
  return [...count.keys()].sort((a, b) => count.get(b) - count.get(a));
}

function readTheme() {
  const probe = document.body.appendChild(make('i'));
  for (const name of STYLES) {
    probe.style.color = `var(--${name})`;
    theme[name] = getComputedStyle(probe).color;
  }
  probe.remove();
}
