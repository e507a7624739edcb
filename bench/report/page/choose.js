// The filters; the picture and the table show the same rows.

const EVERY = 'every';
const rows = decodeRows();
const CHOOSERS = [['device', 'Device'], ['form', 'Form'], ['backend', 'Backend'],
  ['precision', 'Precision'], ['resolution', 'Pixels'], ['level', 'Verdict']];
const batches = unique(rows.map((row) => row.batch)).sort((a, b) => a - b);
const chosen = {}; // the selected values of each filter
let families = []; // in the legend, the largest first
let waiting = 0;

const NAMES = { device: (value) => data.devices[value].label, resolution: (value) => `${value}²` };
const nameOf = (key, value) => (NAMES[key] || String)(value);

/** The values of a filter that are selected when the page opens. */
function selectedFirst(key, values) {
  const found = values.filter((value) => key !== 'device' || data.devices[value].latest);
  return found.length ? found : values;
}

function buildChoosers() {
  for (const [key, title] of CHOOSERS) {
    const values = unique(rows.map((row) => row[key]));
    chosen[key] = new Set(selectedFirst(key, values));
    const boxes = values.map((value) => {
      const box = make('input', { type: 'checkbox', checked: chosen[key].has(value),
        name: key, value: nameOf(key, value), own: value });
      box.addEventListener('change', () => {
        chosen[key][box.checked ? 'add' : 'delete'](value);
        update();
      });
      return make('label', {}, box, ` ${nameOf(key, value)}`);
    });
    const set = make('fieldset', { id: `choose-${key}`, hidden: values.length < 2 },
      make('legend', {}, title), ...boxes);
    at('choosers').append(set);
  }
  at('batch').append(...[...batches, EVERY].map((batch) => new Option(batch, batch)));
  at('dataset').append(...data.accuracies.map((each, i) => new Option(each.name, i)));
  at('choices').addEventListener('submit', (event) => event.preventDefault());
  at('batch').addEventListener('change', update);
  at('dataset').addEventListener('change', () => { setAccuracies(); update(); });
  at('search').addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(update, 120);
  });
  at('all').addEventListener('click', showAll);
}

function showAll() {
  for (const [key] of CHOOSERS) chosen[key] = new Set(rows.map((row) => row[key]));
  for (const box of at('choosers').querySelectorAll('input')) box.checked = true;
  at('batch').value = EVERY;
  at('search').value = '';
  update();
}

/** Set each row's accuracy on the selected data set; two data sets are never mixed. */
function setAccuracies() {
  const dataset = data.accuracies[at('dataset').value];
  const [top1, source, more] = ['top1', 'source', 'more'].map((key) => (
    dataset ? decode(dataset[key]) : []));
  rows.forEach((row, i) => {
    row.top1 = top1[i] ?? null;
    row.source = source[i] ?? null;
    row.more = more[i] ?? false;
  });
  families = byFrequency(rows.filter((row) => row.top1 !== null).map((row) => row.family));
}

function choice() {
  const words = at('search').value.toLowerCase().split(/\s+/).filter(Boolean);
  const batch = at('batch').value;
  return rows.filter((row) => CHOOSERS.every(([key]) => chosen[key].has(row[key]))
    && (batch === EVERY || row.batch === Number(batch))
    && words.every((word) => row.words.includes(word)));
}

function update() {
  const found = choice();
  shown = ROWS_AT_ONCE;
  keepInAddress();
  drawPlot(found);
  drawTable(found);
}
