// The filters in the address of the page, so that a link or a reload shows the same rows. The part
// after # is used, because a page on the disk may change no other part of its address.

const MARK = '#show?';
const FIELDS = ['search', 'batch', 'dataset'];
const atOpening = {}; // the value of each field and filter when the page opens

const boxesOf = (key) => [...at('choosers').querySelectorAll(`input[name="${key}"]`)];
const checkedOf = (key) => boxesOf(key).filter((box) => box.checked).map((box) => box.value);

/** What the reader has changed since the page opened. */
function changes() {
  const found = new URLSearchParams();
  for (const id of FIELDS) if (at(id).value !== atOpening[id]) found.set(id, at(id).value);
  for (const [key] of CHOOSERS) {
    const values = checkedOf(key);
    if (values.join('\n') !== atOpening[key]) {
      (values.length ? values : ['']).forEach((value) => found.append(key, value));
    }
  }
  const { column, sign } = sorting;
  const order = `${column.key} ${sign > 0 ? 'up' : 'down'}`;
  if (order !== atOpening.order) found.set('order', order);
  return found;
}

function keepInAddress() {
  const found = changes().toString();
  if (found || location.hash) history.replaceState(null, '', found ? MARK + found : '#');
}

function rememberOpening() {
  for (const id of FIELDS) atOpening[id] = at(id).value;
  for (const [key] of CHOOSERS) atOpening[key] = checkedOf(key).join('\n');
  atOpening.order = `${sorting.column.key} up`;
}

/** Set the filters from the address; what the address does not name keeps its value at opening. */
function readAddress() {
  if (!location.hash.startsWith(MARK)) return;
  const given = new URLSearchParams(location.hash.slice(MARK.length));
  for (const id of FIELDS) {
    const value = given.get(id);
    const options = at(id).options;
    if (value !== null && (!options || [...options].some((each) => each.value === value))) {
      at(id).value = value;
    }
  }
  for (const [key] of CHOOSERS) {
    if (given.has(key)) setBoxes(key, new Set(given.getAll(key)));
  }
  const [key, direction] = (given.get('order') || '').split(' ');
  const column = COLUMNS.find((each) => each.head && each.key === key);
  if (column) setOrder(column, direction === 'down' ? -1 : 1);
}

/** Check the boxes with the given values; no box changes if none of them has one. */
function setBoxes(key, values) {
  const boxes = boxesOf(key);
  if (!values.has('') && !boxes.some((box) => values.has(box.value))) return;
  for (const box of boxes) {
    box.checked = values.has(box.value);
    chosen[key][box.checked ? 'add' : 'delete'](box.own);
  }
}
