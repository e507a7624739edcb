// Which networks of a group fit a budget; the rules are those of `bench choose`.

const STANDINGS = ['fits', 'cannot be told', 'not measured', 'does not fit'];
const STEPS = 200; // of a slider; its last one is no limit
const { quantities, groups } = data.budget;
const LATENCY = 'latency';
const quantityOf = (name) => quantities.find((each) => each.name === name);
const limitId = (quantity) => `limit-${quantity.name}`;

/** What is known of a quantity of a row; an end that the data lack is infinite. */
const figureOf = (quantity, row) => ({
  point: quantity.points[row],
  low: quantity.lows[row] ?? -Infinity,
  high: quantity.highs[row] ?? Infinity,
  missing: decode(quantity.missing)[row],
  rough: quantity.rough[row],
  never: quantity.never[row],
});

function standingOf({ point, low, high, missing }, bound, atLeast) {
  if (point === null) return 2;
  if (bound !== null && (atLeast ? high < bound : low > bound)) return 3;
  if (missing) return 2;
  return bound === null || (atLeast ? low >= bound : high <= bound) ? 0 : 1;
}

/** By what factor a value exceeds its limit; of top-1, the share of errors. */
function excessOf({ point }, bound, atLeast) {
  if (bound === null || point === null) return 0;
  return atLeast ? (100 - point) / (100 - bound) : point / bound;
}

/** A row with its standing, the limit that decides, and its place among rows of that standing. */
function judged(row, limits, by) {
  const known = [...limits, [by, null]].map(([quantity, bound]) => {
    const figure = figureOf(quantity, row);
    return { quantity, bound, figure, standing: standingOf(figure, bound, quantity.at_least),
      excess: excessOf(figure, bound, quantity.at_least) };
  });
  const standing = Math.max(...known.map((each) => each.standing));
  const decisive = known.filter((each) => each.standing === standing)
    .reduce((most, each) => (each.excess > most.excess ? each : most));
  const objective = known[known.length - 1].figure;
  const value = objective.point === null ? Infinity : objective.point * (by.at_least ? -1 : 1);
  const latency = quantityOf(LATENCY).points[row] ?? Infinity;
  const never = standing === 2 && known.some((each) => each.standing === 2 && each.figure.never);
  return { row, standing, place: never ? STANDINGS.length : standing, decisive, objective,
    order: standing === 3 ? [decisive.excess, latency] : [Number(objective.rough), value, latency] };
}

function inOrder(one, other) {
  const place = one.order.findIndex((value, i) => value !== other.order[i]);
  return place < 0 ? 0 : one.order[place] - other.order[place];
}

/** Each network by its best row: a list for each standing, in order. */
function decide(members, limits, by) {
  const best = new Map();
  for (const each of members.map((row) => judged(row, limits, by))) {
    const network = decode(data.budget.networks)[each.row];
    const known = best.get(network);
    if (!known || each.place < known.place
      || (each.place === known.place && inOrder(each, known) < 0)) best.set(network, each);
  }
  const found = STANDINGS.map((_, standing) => (
    [...best.values()].filter((each) => each.standing === standing).sort(inOrder)));
  const [winner, ...others] = found[0];
  for (const each of others) {
    each.tied = by.name === LATENCY ? data.budget.ties[winner.row].includes(each.row)
      : winner.objective.low <= each.objective.high && each.objective.low <= winner.objective.high;
  }
  return found;
}

/** `20.3 ms (19.8 to 20.9)`. */
function valueOf(quantity, { point, low, high, missing, rough }) {
  if (point === null) return '–';
  const [shown, ...ends] = [point, low, high].map((each) => significant(each / quantity.scale));
  const between = !rough && !missing && low < high ? ` (${ends.join(' to ')})` : '';
  return `${shown} ${quantity.unit}${between}`;
}

function reasonOf({ standing, decisive }) {
  const { quantity, bound, figure, excess } = decisive;
  if (standing === 2) return figure.missing;
  const said = `${quantity.title} ${valueOf(quantity, figure)}`;
  if (standing === 1) return said + (figure.rough ? ', without an interval' : ', and the limit lies within');
  return quantity.at_least ? `${said}: ${significant(bound - figure.point, 2)} points too low`
    : `${said}: ${significant(excess)} times the limit`;
}

const titleOf = (row) => decode(data.budget.titles)[row];
const group = () => groups[at('budget-group').value];

/** The limits that are set, in SI units. */
function limitsSet() {
  const pairs = quantities.filter((each) => each.is_limit && at(limitId(each)))
    .map((each) => [each, at(limitId(each)).value]);
  return pairs.filter(([, text]) => text !== '' && Number(text) > 0)
    .map(([quantity, text]) => [quantity, Number(text) * quantity.scale]);
}

function sentenceOf(found) {
  const [fits, open, unmeasured] = found;
  if (!fits.length) {
    const count = open.length + unmeasured.length;
    return `No network is known to fit${count ? `; of ${count} it is not known` : ''}.`;
  }
  if (fits.length === 1) return `${titleOf(fits[0].row)} is the only network known to fit.`;
  const ties = fits.filter((each) => each.tied).map((each) => titleOf(each.row));
  const tied = ties.length ? `, tied with ${ties.join(', ')}` : '';
  return `${titleOf(fits[0].row)} is the first of ${fits.length} that fit${tied}.`;
}

function drawBudget() {
  const by = quantityOf(at('budget-by').value);
  const limits = limitsSet();
  const found = decide(group().rows, limits, by);
  const shown = unique([by, quantityOf(LATENCY), ...limits.map(([quantity]) => quantity)]);
  const heads = ['', 'Network', ...shown.map((each) => each.title), 'Why not'];
  const lines = found.flatMap((several, standing) => several.map((each, place) => {
    const first = standing ? STANDINGS[standing] : each.tied ? 'tied' : `${place + 1}`;
    const cells = shown.map((quantity) => valueOf(quantity, figureOf(quantity, each.row)));
    return make('tr', { className: standing ? 'muted' : '' }, make('td', {}, first),
      make('th', { scope: 'row' }, titleOf(each.row)),
      ...[...cells, standing ? reasonOf(each) : ''].map((cell) => make('td', {}, cell)));
  }));
  at('budget-answer').textContent = sentenceOf(found);
  at('budget-table').tHead.rows[0].replaceChildren(
    ...heads.map((head) => make('th', { scope: 'col' }, head)));
  at('budget-table').tBodies[0].replaceChildren(...lines);
}

/** The smallest and the largest value of a quantity in the group; null if none is known. */
function rangeOf(quantity) {
  const known = group().rows.map((row) => quantity.points[row]).filter((each) => each !== null);
  return known.length ? [Math.min(...known), Math.max(...known)] : null;
}

/** The value at a step of a slider: in equal ratios, or in equal differences of top-1. */
function atStep(quantity, step) {
  const [least, most] = rangeOf(quantity);
  const share = step / (STEPS - 1);
  const value = quantity.at_least ? most - share * (most - least)
    : least * (most / least) ** share;
  return Number(significant(value / quantity.scale));
}

/** Where the slider of a limit stands for the number in its field. */
function stepOf(quantity, text) {
  const range = rangeOf(quantity);
  if (text === '' || !range || range[0] === range[1]) return STEPS;
  const value = Number(text) * quantity.scale;
  const [least, most] = range;
  const share = quantity.at_least ? (most - value) / (most - least)
    : Math.log(value / least) / Math.log(most / least);
  return Math.min(Math.max(Math.round(share * (STEPS - 1)), 0), STEPS - 1);
}

/** A field for a number and a slider that fills it in; the slider's last step empties it. */
function limitControl(quantity) {
  const id = limitId(quantity);
  const field = make('input', { id, type: 'number', min: 0, step: 'any', placeholder: 'none' });
  const slider = make('input', { id: `${id}-slider`, type: 'range', min: 0, max: STEPS,
    ariaLabel: `${quantity.title}: slide for a limit` });
  field.addEventListener('input', () => changedBudget());
  slider.addEventListener('input', () => {
    const step = Number(slider.value);
    field.value = step === STEPS ? '' : atStep(quantity, step);
    changedBudget();
  });
  const how = quantity.at_least ? 'at least' : 'at most';
  return make('p', { className: 'limit' }, make('label', { htmlFor: id },
    `${quantity.title} ${how} (${quantity.unit})`), field, slider);
}

/** Show the controls of what is known in the group, and where their sliders stand. */
function adjustControls() {
  for (const quantity of quantities.filter((each) => each.is_limit)) {
    const field = at(limitId(quantity));
    const range = rangeOf(quantity);
    field.parentElement.hidden = !range;
    const slider = at(`${limitId(quantity)}-slider`);
    slider.hidden = !range || range[0] === range[1] || range[0] <= 0;
    slider.value = stepOf(quantity, field.value);
  }
}

function changedBudget() {
  keepInAddress();
  adjustControls();
  drawBudget();
}

function buildBudget() {
  at('budget-group').append(...groups.map((each, i) => new Option(each.label, i)));
  const objectives = quantities.filter((each) => (
    each.name === LATENCY || each.name === 'energy' || each.at_least));
  at('budget-by').append(...objectives.map((each) => new Option(each.title, each.name)));
  at('limits').append(...quantities.filter((each) => each.is_limit).map(limitControl));
  for (const id of ['budget-group', 'budget-by']) at(id).addEventListener('change', changedBudget);
  at('budget-form').addEventListener('submit', (event) => event.preventDefault());
  const own = quantities.filter((each) => each.is_limit).map(limitId);
  FIELDS.push('budget-group', 'budget-by', ...own);
}
