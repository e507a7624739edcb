// The chosen rows as a CSV file: every column of the data, in SI units, sorted as the table.

const OWN_COLUMNS = ['label', ...Object.keys(data.rows).filter((key) => key !== 'device'),
  'top1', 'source'];

/**
 * A CSV cell. A spreadsheet would run text that begins with one of = + - @ as a formula. Text that
 * looks like such a cell made harmless gets an apostrophe, too, so that each cell is read back.
 */
function cellOf(value) {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return String(value);
  const safe = /^'*[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

function csvOf(found) {
  const titles = OWN_COLUMNS.map((key) => (key === 'label' ? 'device' : key));
  const lines = found.map((row) => OWN_COLUMNS.map((key) => cellOf(row[key])));
  return [titles, ...lines].map((cells) => cells.join(',')).join('\n') + '\n';
}

function saveTable() {
  const file = new Blob([csvOf([...choice()].sort(compare))], { type: 'text/csv' });
  const link = make('a', { href: URL.createObjectURL(file), download: 'rows.csv' });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
