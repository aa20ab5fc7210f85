import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge, median, medianInterval, pairedRatio, percentile } from './statistics.mjs';

test('median', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([7]), 7);
});

test('percentile', () => {
  assert.equal(percentile([1, 2, 3, 4], 0.5), 2);
  assert.equal(percentile([1, 2, 3, 4], 0.99), 4);
  assert.equal(percentile([5], 0), 5);
  assert.equal(percentile([], 0.5), 0);
});

test('interval: ranks of the sign test', () => {
  // Tables of the sign test: n = 15 gives the 4th and 12th value (96.5 %), n = 6 the extremes (96.9 %), n = 20 the 6th
  // and 15th (95.9 %).
  const upTo = (n) => Array.from({ length: n }, (_, i) => i + 1);
  for (const [n, low, high, confidence] of [[15, 4, 12, 0.965], [6, 1, 6, 0.969], [20, 6, 15, 0.959], [3, 1, 3, 0.75]]) {
    const interval = medianInterval(upTo(n).reverse());
    assert.deepEqual([n, interval.low, interval.high], [n, low, high]);
    assert.ok(Math.abs(interval.confidence - confidence) < 0.001, `${n}: ${interval.confidence}`);
  }
  assert.deepEqual(medianInterval([5]), { low: 5, high: 5, confidence: 0 });
});

test('ratios pair rounds, and a round without both does not count', () => {
  const ratio = pairedRatio(new Map([[0, 2], [1, 6], [2, 100]]), new Map([[0, 1], [1, 2], [3, 9]]));
  assert.equal(ratio.rounds, 2);
  assert.equal(ratio.median, 2.5);
  assert.equal(pairedRatio(new Map([[0, 1]]), new Map([[1, 1]])), null);
});

test('a target is decided by the whole interval', () => {
  assert.equal(judge({ low: 0.7, high: 0.8, confidence: 0.96 }, 0.85), 'met');
  assert.equal(judge({ low: 0.9, high: 1.0, confidence: 0.96 }, 0.85), 'not met');
  assert.equal(judge({ low: 0.8, high: 0.9, confidence: 0.96 }, 0.85), 'undecided');
  assert.equal(judge({ low: 0.1, high: 0.2, confidence: 0.75 }, 0.85), 'undecided');
});
