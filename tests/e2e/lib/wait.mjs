// Waiting without sleeping: for a condition, or for a promise, with a hang guard that is far beyond what any test needs.
export const hangGuard = 15_000;  // ms

export async function until(what, condition, timeout = hangGuard) {
  const deadline = Date.now() + timeout;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited ${timeout} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export function within(what, promise, timeout = hangGuard) {
  let timer;
  const guard = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${timeout} ms in vain: ${what}`)), timeout);
  });
  return Promise.race([promise, guard]).finally(() => clearTimeout(timer));
}
