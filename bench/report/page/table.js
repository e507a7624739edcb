// The table of cases. A property that all rows share has no column; every column can be sorted.

const ROWS_AT_ONCE = 500;
const LEVELS = ['VALID', 'SUSPECT', 'INVALID', 'failed', 'no verdict'];
const KIND_OF_LEVEL = ['good', 'doubt', 'bad', 'bad', 'muted'];
const FIRST_ORDER = 'estimate'; // the table opens sorted by latency
const sorting = { column: null, sign: 1 };
let shown = ROWS_AT_ONCE;

const number = (key, title, show, value) => ({ key, title, show, number: true,
  value: value || ((row) => row[key]) });
const text = (key, title) => ({ key, title, show: (row) => row[key], value: (row) => row[key] });
const whole = (key) => (row) => row[key] ?? '–';
const COLUMNS = [
  { ...text('name', 'Model'), show: nameCell },
  number('resolution', 'Pixels', (row) => `${row.resolution}²`),
  number('estimate', 'Latency (ms)', (row) => (row.stage ? 'failed' : ms(row.estimate))),
  number('low', '95 % interval (ms)', interval),
  { key: 'level', title: 'Verdict', show: verdictCell,
    value: (row) => LEVELS.indexOf(row.level) },
  number('rank', 'Rank', whole('rank'),
    (row) => (row.rank === null ? null : Number.parseInt(row.rank, 10))),
  number('throughput', 'Throughput (img/s)', (row) => significant(row.throughput)),
  number('mean', 'Mean ± std of all iterations (ms)', (row) => plusMinus(row.mean, row.std)),
  number('median', 'Median (ms)', (row) => ms(row.median)),
  ...['p90', 'p95', 'p99'].map((key) => number(key, `${key} (ms)`, (row) => ms(row[key]))),
  number('top1', 'Top-1 (%)', top1Cell),
  number('params', 'Params (M)', (row) => significant(scaled(row.params, 1e6), 4)),
  number('macs', 'MACs (G)', (row) => significant(scaled(row.macs, 1e9))),
  text('form', 'Form'),
  text('label', 'Device'),
  text('backend', 'Backend'),
  text('precision', 'Precision'),
  number('batch', 'Batch', whole('batch')),
  number('threads', 'Threads', whole('threads')),
  text('memory', 'Allocator'),
];
const MAY_BE_EMPTY = ['p90', 'p95', 'p99'];
const MAY_BE_CONSTANT = ['label', 'backend', 'precision', 'resolution', 'threads', 'memory'];

const scaled = (value, unit) => (value === null ? null : value / unit);

function top1Cell(row) {
  if (row.top1 === null) return '–';
  return make('span', { title: row.source }, `${significant(row.top1)} (${sourceOf(row)})`);
}

function nameCell(row) {
  if (!points.has(row)) return make('span', { title: row.case }, row.name);
  const button = make('button', { type: 'button', title: `${row.case}: show in the picture` },
    row.name);
  button.addEventListener('click', () => {
    at('plot').scrollIntoView({ block: 'nearest' });
    Plotly.Fx.hover('plot', [points.get(row)]);
  });
  return button;
}

function verdictCell(row) {
  const className = KIND_OF_LEVEL[LEVELS.indexOf(row.level)];
  const head = row.stage ? `failed at ${row.stage}` : row.level;
  const why = [row.failure, row.doubts].filter(Boolean).join('\n');
  if (!why) return make('span', { className }, head);
  return make('details', { title: why }, make('summary', { className }, head), make('p', {}, why));
}

const isConstant = (column) => MAY_BE_CONSTANT.includes(column.key)
  && unique(rows.map((row) => row[column.key])).length === 1;

const isEmpty = (column) => MAY_BE_EMPTY.includes(column.key)
  && rows.every((row) => row[column.key] === null);

function buildTable() {
  const constant = COLUMNS.filter(isConstant);
  const same = constant.filter((column) => column.show(rows[0]) !== 'default').map((column) => (column.key === 'threads'
    ? `${rows[0].threads} threads` : column.show(rows[0])));
  if (same.length) at('constant').textContent = `All: ${same.join(' · ')}`;
  for (const column of COLUMNS) {
    if (constant.includes(column) || isEmpty(column)) continue;
    const button = make('button', { type: 'button' }, column.title);
    column.head = make('th', { scope: 'col', className: column.number ? 'number' : '' }, button);
    button.addEventListener('click', () => sortBy(column));
    at('table').tHead.rows[0].append(column.head);
  }
  at('more').addEventListener('click', () => {
    shown += ROWS_AT_ONCE;
    drawTable(choice());
  });
  at('save').addEventListener('click', saveTable);
  setOrder(COLUMNS.find((column) => column.key === FIRST_ORDER), 1);
}

function sortBy(column) {
  setOrder(column, sorting.column === column ? -sorting.sign : 1);
  keepInAddress();
  drawTable(choice());
}

function setOrder(column, sign) {
  Object.assign(sorting, { column, sign });
  for (const { head } of COLUMNS) head?.removeAttribute('aria-sort');
  column.head.setAttribute('aria-sort', sign > 0 ? 'ascending' : 'descending');
}

/** Missing values come last in either order. */
function compare(a, b) {
  const [x, y] = [a, b].map(sorting.column.value);
  if (x === null || y === null) return (x === null) - (y === null);
  return sorting.sign * (typeof x === 'number' ? x - y : COLLATOR.compare(x, y));
}

function drawTable(found) {
  const sorted = [...found].sort(compare);
  const columns = COLUMNS.filter((column) => column.head);
  at('table').tBodies[0].replaceChildren(...sorted.slice(0, shown).map((row) => make('tr', {},
    ...columns.map((column, i) => make(i ? 'td' : 'th',
      { className: column.number ? 'number' : '', ...(i ? {} : { scope: 'row' }) },
      column.show(row))))));
  at('frame').hidden = at('save').hidden = !found.length;
  at('count').textContent = `${found.length} of ${rows.length} rows`;
  at('more').hidden = found.length <= shown;
  at('more').textContent = `Show ${Math.min(ROWS_AT_ONCE, found.length - shown)} more`;
}
