// Names at the markers of the picture. A name stands where it covers no marker and no other name; a
// name without such a place is left out, and the hover text has it.

const LETTER = { width: 6.4, height: 13 }; // pixels of a letter of 11 pixels, on average
const MARKER = 7; // pixels from the centre of a marker to the start of its name
const SIDES = ['top', 'bottom', 'right', 'left']; // intervals lie to the left and right
const MARGIN = { l: 56, r: 16, t: 28, b: 52 }; // pixels around the plot

/** What stands at a marker: once in a family the whole name, at its other markers the size. */
function namesOf(series) {
  const named = new Set();
  const names = new Map();
  for (const members of series) {
    for (const row of [...members].reverse()) {
      names.set(row, row.size && named.has(row.family) ? row.size : row.name);
      named.add(row.family);
    }
  }
  return names;
}

/** The box of a name at one side of the point (x, y), in pixels; y grows downwards. */
function boxAt(side, x, y, name) {
  const width = LETTER.width * name.length;
  const left = { right: x + MARKER, left: x - MARKER - width }[side] ?? x - width / 2;
  const middle = y + ({ top: -1, bottom: 1 }[side] ?? 0) * (MARKER + LETTER.height / 2);
  return [left, middle - LETTER.height / 2, left + width, middle + LETTER.height / 2];
}

const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

/** Map a row to [name, side] for every name that has a place. `xAxis`, `yAxis` have a `range`. */
function placedNames(series, xAxis, yAxis) {
  const { width: w, height: h } = at('plot').getBoundingClientRect();
  const [width, height] = [w - MARGIN.l - MARGIN.r, h - MARGIN.t - MARGIN.b];
  const within = (value, [low, high]) => (value - low) / (high - low);
  const xOf = (row) => width * within(xAxis.type === 'log' ? Math.log10(row.estimate * 1e3)
    : row.estimate * 1e3, xAxis.range);
  const yOf = (row) => height * (1 - within(row.top1, yAxis.range));
  const drawn = series.flat();
  const taken = drawn.map((row) => {
    const [x, y] = [xOf(row), yOf(row)];
    return [x - MARKER + 2, y - MARKER + 2, x + MARKER - 2, y + MARKER - 2];
  });
  const names = namesOf(series);
  const order = [...drawn].sort((a, b) => names.get(b).length - names.get(a).length);
  const placed = new Map();
  for (const row of order) {
    const name = names.get(row);
    for (const side of SIDES) {
      const box = boxAt(side, xOf(row), yOf(row), name);
      const inside = box[0] >= 0 && box[1] >= 0 && box[2] <= width && box[3] <= height;
      if (inside && !taken.some((other) => overlap(box, other))) {
        taken.push(box);
        placed.set(row, [name, side]);
        break;
      }
    }
  }
  return placed;
}

const TEXT_POSITIONS = { right: 'middle right', left: 'middle left', top: 'top center',
  bottom: 'bottom center' };

/** The part of a trace that draws the placed names of its members. */
function textOf(members, placed) {
  return {
    text: members.map((row) => literal(placed.get(row)?.[0] ?? '')),
    textposition: members.map((row) => TEXT_POSITIONS[placed.get(row)?.[1] ?? 'top']),
    textfont: { size: 11, color: mixed(colourOf(members[0].family), theme.ink, 0.5) },
  };
}
