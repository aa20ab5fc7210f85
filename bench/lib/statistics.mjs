// Medians, and intervals that assume nothing about the distribution.

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// Of sorted values, by the nearest rank; 0 if there are none.
export function percentile(sorted, share) {
  return sorted.length === 0 ? 0 : sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

// The narrowest pair of order statistics that holds the median of the population with at least `confidence`, by the
// sign test: the number of values below the median is binomial(n, 1/2). Fewer than 6 values reach no 95 %: then the
// whole range comes back, with the confidence it really has.
export function medianInterval(values, confidence = 0.95) {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  const coverage = (skip) => {  // of the interval that leaves out `skip` values at either end
    let tail = 0;
    let term = 0.5 ** n;
    for (let k = 0; k <= skip; ++k) {
      tail += term;
      term = (term * (n - k)) / (k + 1);
    }
    return Math.max(0, 1 - 2 * tail);
  };
  let skip = 0;
  while (skip + 1 < n - skip - 1 && coverage(skip + 1) >= confidence) ++skip;
  return { low: sorted[skip], high: sorted[n - 1 - skip], confidence: coverage(skip) };
}

// Ratios of the values that the same round gave for both, as { median, low, high, confidence, rounds }; null if no
// round has both.
export function pairedRatio(ours, theirs) {
  const ratios = [];
  for (const [round, value] of ours) if (theirs.has(round)) ratios.push(value / theirs.get(round));
  if (ratios.length === 0) return null;
  return { median: median(ratios), ...medianInterval(ratios), rounds: ratios.length };
}

// Whether a ratio is at most `bound`: 'met' or 'not met' if its whole interval is on one side, else 'undecided'. An
// interval of less than 90 % decides nothing.
export function judge(ratio, bound) {
  if (ratio.confidence < 0.9) return 'undecided';
  if (ratio.high <= bound) return 'met';
  return ratio.low > bound ? 'not met' : 'undecided';
}
